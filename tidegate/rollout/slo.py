"""The error budget of a product: how many of its updates may fail in a period, like 1%/30d."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tidegate.errors import TidegateError
from tidegate.rollout import durations

_PATTERN = re.compile(r"([0-9]{1,2}(?:\.[0-9]{1,3})?)%/([0-9]{1,6}[smhd])", re.ASCII)
_LEAST_S = 3600


@dataclass(frozen=True)
class Slo:
    """At most `percent` of the updates that ended in the last `period_s` seconds may have failed."""

    percent: float
    period_s: int

    def __str__(self) -> str:
        return f"{self.percent:g}%/{durations.text(self.period_s)}"


def parse(text: str) -> Slo:
    """Raises TidegateError."""
    found = _PATTERN.fullmatch(text) if isinstance(text, str) else None
    period = durations.parse(found[2], "period") if found else 0
    if found is None or period < _LEAST_S:
        raise TidegateError(f"{text!r:.40} is not an error budget", "Write it like 1%/30d; the period is 1h or longer")
    return Slo(float(found[1]), period)
