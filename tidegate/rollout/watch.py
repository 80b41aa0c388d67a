"""What is watched while a wave soaks: a measure of updated devices, beside devices that are not updated yet.

`crashes`, `restarts` and `offline` the server knows itself; any other word is the name of a measurement of the devices'
telemetry. "heap<10%" stops if the heap of updated devices is lower than that of the others by more than 10 % of theirs.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from tidegate.errors import TidegateError

MOST = 8
OWN = ("crashes", "restarts", "offline")
_PATTERN = re.compile(r"([A-Za-z0-9._:/-]{1,64})([<>])([0-9]{1,12}(?:\.[0-9]{1,6})?)(%?)\Z")
_REMEDY = "Write it like crashes, restarts, offline, heap<10% (lower is worse) or temperature>2 (higher is worse)"


@dataclass(frozen=True)
class Watch:
    """A measure; `worse` is its bad direction. Differences up to `tolerance` (percent, if `relative`) are none."""

    name: str
    worse: Literal["<", ">"]
    tolerance: float
    relative: bool

    def loss(self, updated: float, other: float, updated_before: float, other_before: float) -> int:
        """1 if the updated device changed for the worse by more than the other, -1 the reverse, 0 about the same."""
        change = (updated - updated_before) - (other - other_before)
        if self.worse == "<":
            change = -change
        allowed = self.tolerance / 100 * max(abs(other_before), abs(other)) if self.relative else self.tolerance
        return 0 if abs(change) <= allowed else 1 if change > 0 else -1

    def __str__(self) -> str:
        if self.name in OWN:
            return self.name
        return f"{self.name}{self.worse}{self.tolerance:g}{'%' if self.relative else ''}"


def parse(text: str) -> Watch:
    """Raises TidegateError."""
    text = text.strip()
    if text in ("crashes", "restarts"):
        return Watch(text, ">", 0, relative=False)
    if text == "offline":
        return Watch(text, ">", 300, relative=False)  # seconds of silence
    found = _PATTERN.match(text)
    if found is None or found[1] in OWN:
        raise TidegateError(f"{text!r:.80} is nothing that can be watched", _REMEDY)
    return Watch(found[1], found[2], float(found[3]), relative=bool(found[4]))  # type: ignore[arg-type]
