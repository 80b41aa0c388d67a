"""Lengths of time as people write them: 90s, 30m, 2h, 7d."""

from __future__ import annotations

import re

from tidegate.errors import TidegateError

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_PATTERN = re.compile(r"([0-9]{1,6})([smhd])\Z")
MOST_S = 365 * 86400


def parse(text: str, what: str) -> int:
    """`text` in seconds. Raises TidegateError, which names `what`."""
    found = _PATTERN.match(text)
    seconds = int(found[1]) * _UNITS[found[2]] if found else -1
    if not 0 <= seconds <= MOST_S:
        raise TidegateError(f"{what} {text!r:.40} is not a length of time", "Write it like 90s, 30m, 2h or 7d")
    return seconds


def words(seconds: float) -> str:
    """Seconds for people, in the largest unit that loses nothing they would miss: "2 h", "90 min", "45 s"."""
    whole = max(0, round(seconds))
    if whole < 120:
        return f"{whole} s"
    if whole < 7200:
        return f"{round(whole / 60)} min"
    if whole < 172_800:
        return f"{round(whole / 3600, 1):g} h"
    return f"{round(whole / 86400, 1):g} d"


def text(seconds: int) -> str:
    """The shortest text that `parse` reads as these seconds."""
    unit = next(unit for unit in "dhms" if seconds % _UNITS[unit] == 0)
    return f"{seconds // _UNITS[unit]}{unit}"
