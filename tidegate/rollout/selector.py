"""Selectors: which devices a rollout is for, as one line: "board=rpi_pico_w,group=canary|lab,seen<24h".

All conditions must hold; | separates values of which one is enough.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from tidegate import names
from tidegate.errors import TidegateError
from tidegate.rollout import durations

EVERYTHING = "all"
MOST = 400  # characters
_TERM = re.compile(r"([a-z]+(?:\.[A-Za-z0-9._/-]+)?)(!=|=|<|>)(.*)\Z", re.DOTALL)
_REMEDY = (
    "Write it like all, or board=rpi_pico_w,group=canary|lab,channel=stable,version!=1.0.0,sequence<12,"
    "label.site=vienna,seen<24h"
)
LABEL_KEY = names.Name(
    "label key",
    r"[A-Za-z0-9][A-Za-z0-9._/-]{0,31}",
    32,
    "1 to 32 of letters, digits, ., _, / and -, a letter or digit first",
)
LABEL_VALUE = names.Name("label value", r"[A-Za-z0-9._:@/+-]{1,64}", 64, "1 to 64 of letters, digits and ._:@/+-")
_VALUES = {
    "board": names.BOARD,
    "group": names.GROUP,
    "channel": names.CHANNEL,
    "version": names.VERSION,
    "device": names.DEVICE,
    "label": LABEL_VALUE,
}

Field = Literal["board", "group", "channel", "version", "device", "label", "sequence", "seen"]


@dataclass(frozen=True)
class Term:
    """One condition. `key` is that of a label; `values` texts, or one number in `number` (sequence, seconds)."""

    field: Field
    sign: Literal["=", "!=", "<", ">"]
    values: tuple[str, ...] = ()
    number: int = 0
    key: str = ""


@dataclass(frozen=True)
class Selector:
    """A selector as it was written, and its conditions; without any it means all devices."""

    text: str
    terms: tuple[Term, ...]

    def __str__(self) -> str:
        return self.text


def parse(text: str) -> Selector:
    """Raises TidegateError."""
    text = text.strip()
    if len(text) > MOST:
        raise TidegateError(f"the selector has more than {MOST} characters", "Label the devices, and select the label")
    if text == EVERYTHING:
        return Selector(text, ())
    return Selector(text, tuple(_term(part.strip()) for part in text.split(",")))


def _term(text: str) -> Term:
    found = _TERM.match(text)
    if found is None:
        raise TidegateError(f"{text!r:.60} is not a condition of a selector", _REMEDY)
    name, sign, value = found[1], found[2], found[3].strip()
    field, _, key = name.partition(".")
    if key and field != "label":
        raise TidegateError(f"{name!r:.60} is nothing that can be selected by", _REMEDY)
    if field == "seen":
        if sign not in "<>":
            raise TidegateError(f"{text!r:.60}: seen takes < or > and a length of time", "Write it like seen<24h")
        return Term("seen", sign, number=durations.parse(value, "seen"))  # type: ignore[arg-type]
    if field == "sequence":
        if not re.fullmatch(r"[0-9]{1,15}", value):
            raise TidegateError(f"{text!r:.60}: a sequence number is a whole number", "Write it like sequence<12")
        return Term("sequence", sign, number=int(value))  # type: ignore[arg-type]
    if field not in _VALUES:
        raise TidegateError(f"{field!r:.60} is nothing that can be selected by", _REMEDY)
    if field == "label":
        LABEL_KEY.check(key)
    if sign not in ("=", "!="):
        raise TidegateError(f"{text!r:.60}: {field} takes = or !=", _REMEDY)
    values = tuple(_VALUES[field].check(one.strip()) for one in value.split("|"))
    return Term(field, sign, values, key=key)  # type: ignore[arg-type]
