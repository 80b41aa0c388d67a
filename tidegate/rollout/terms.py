"""The terms of a rollout in waves, as they are written, checked and stored."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tidegate.errors import TidegateError
from tidegate.rollout import durations, gate, selector, watch, waves, window
from tidegate.rollout.gate import Gate
from tidegate.rollout.selector import Selector
from tidegate.rollout.watch import Watch
from tidegate.rollout.waves import Wave
from tidegate.rollout.window import Window

WAVES = "1%,10%,50%,100%"
SOAK = "2h"
MAX_FAILURES = "2%"
MIN_SAMPLE = 20
DEADLINE = "24h"
ERROR = 0.01  # the probability that a healthy rollout is ever stopped by what is watched
_PERCENT = re.compile(r"([0-9]{1,2}(?:\.[0-9]{1,3})?)%\Z")
_RATE = re.compile(r"([1-9][0-9]{0,6})/(min|h)\Z")
_MOST_SAMPLE = 1_000_000


@dataclass(frozen=True)
class Budget:
    """How many devices may fail: a number, a percentage of those that have ended, or both."""

    count: int | None = None
    percent: float | None = None

    def __str__(self) -> str:
        parts = [] if self.percent is None else [f"{self.percent:g}%"]
        return ",".join(parts + ([] if self.count is None else [str(self.count)]))


@dataclass(frozen=True)
class Rate:
    """At most `count` offers in `seconds`."""

    count: int
    seconds: int

    def __str__(self) -> str:
        return f"{self.count}/{'min' if self.seconds == 60 else 'h'}"


@dataclass(frozen=True)
class Terms:
    """Whom a rollout reaches, in which waves, and what must hold. Times in seconds; `error` is a probability."""

    to: Selector
    waves: tuple[Wave, ...]
    soak_s: int
    budget: Budget
    min_sample: int
    deadline_s: int
    manual: bool = False
    rate: Rate | None = None
    window: Window | None = None
    watches: tuple[Watch, ...] = ()
    error: float = ERROR
    gate: Gate | None = None

    def document(self) -> dict[str, Any]:
        """As JSON that `parse` reads as the same terms: texts as people write them."""
        # Only where there is one: older servers do not know the words.
        gated = {"gate": self.gate.name, "gate_timeout": durations.text(self.gate.timeout_s)} if self.gate else {}
        return {
            "to": str(self.to),
            "waves": ",".join(map(str, self.waves)),
            "soak": durations.text(self.soak_s),
            "max_failures": str(self.budget),
            "min_sample": self.min_sample,
            "deadline": durations.text(self.deadline_s),
            "manual": self.manual,
            "rate": None if self.rate is None else str(self.rate),
            "window": None if self.window is None else self.window.text,
            "watch": [str(one) for one in self.watches],
            "error": self.error,
            **gated,
        }


NAMES = (
    "to", "waves", "soak", "max_failures", "min_sample", "deadline", "manual", "rate", "window", "watch", "error",
    "gate", "gate_timeout",
)  # fmt: skip


def parse(document: Mapping[str, Any]) -> Terms:
    """Terms from the members of `Terms.document`; all but `to` may be missing or None. Raises TidegateError."""
    for name in document:
        if name not in NAMES:
            raise TidegateError(f"a rollout has no {name!r:.40}", f"Known are: {', '.join(NAMES)}")
    given = {name: value for name, value in document.items() if value is not None}
    return Terms(
        to=selector.parse(_text(given, "to", None)),
        waves=waves.parse(_text(given, "waves", WAVES)),
        soak_s=durations.parse(_text(given, "soak", SOAK), "soak"),
        budget=_budget(_text(given, "max_failures", MAX_FAILURES)),
        min_sample=_whole(given.get("min_sample", MIN_SAMPLE)),
        deadline_s=durations.parse(_text(given, "deadline", DEADLINE), "deadline"),
        manual=_flag(given.get("manual", False)),
        rate=_rate(_text(given, "rate", "")) if "rate" in given else None,
        window=window.parse(_text(given, "window", "")) if "window" in given else None,
        watches=_watches(given.get("watch", ())),
        error=_error(given.get("error", ERROR)),
        gate=_gate(given),
    )


def _text(given: Mapping[str, Any], name: str, default: str | None) -> str:
    value = given.get(name, default)
    if not isinstance(value, str):
        raise TidegateError(
            f"{name} of a rollout must be text" if name in given else f"a rollout needs {name}", f"Give {name} as text"
        )
    return value


def _budget(text: str) -> Budget:
    count: int | None = None
    percent: float | None = None
    for part in text.split(","):
        found = _PERCENT.match(part.strip())
        if found:
            percent = float(found[1])
        elif re.fullmatch(r"[0-9]{1,7}", part.strip()):
            count = int(part)
        else:
            raise TidegateError(f"{text!r:.40} is not a number of failures", "Write it like 2%, or 5, or 2%,5")
    return Budget(count, percent)


def _rate(text: str) -> Rate:
    found = _RATE.match(text)
    if found is None:
        raise TidegateError(f"{text!r:.40} is not a rate", "Write it like 100/min or 50/h")
    return Rate(int(found[1]), 60 if found[2] == "min" else 3600)


def _whole(value: Any) -> int:
    if type(value) is not int or not 1 <= value <= _MOST_SAMPLE:
        raise TidegateError(f"min_sample {value!r:.40} is not a whole number above 0", "Write it like 20")
    return value


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TidegateError(f"manual must be true or false, and {value!r:.40} is not", "Write true or false")
    return value


def _watches(value: Any) -> tuple[Watch, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(one, str) for one in value):
        raise TidegateError("watch must be a list of texts", 'Write it like ["crashes", "heap<10%"]')
    if len(value) > watch.MOST:
        raise TidegateError(f"at most {watch.MOST} measures can be watched", "Name fewer")
    found = tuple(watch.parse(one) for one in value)
    if len({one.name for one in found}) != len(found):
        raise TidegateError("a measure is watched twice", "Name it once")
    return found


def _gate(given: Mapping[str, Any]) -> Gate | None:
    if "gate" in given:
        return gate.parse(_text(given, "gate", None), _text(given, "gate_timeout", gate.TIMEOUT))
    if "gate_timeout" in given:
        raise TidegateError("a rollout with gate_timeout needs gate", "Write gate: ci, or leave gate_timeout out")
    return None


def _error(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 1e-6 <= value <= 0.2:
        raise TidegateError(f"error {value!r:.40} is not a probability from 0.000001 to 0.2", "Write it like 0.01")
    return float(value)
