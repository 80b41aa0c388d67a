"""When offers may go out: "Mon-Fri 09:00-16:00 Europe/Vienna"."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from tidegate.errors import TidegateError

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_PATTERN = re.compile(
    r"(?:([A-Za-z,-]{3,27}) )?([01][0-9]|2[0-3]):([0-5][0-9])-([01][0-9]|2[0-4]):([0-5][0-9])(?: (\S{1,64}))?\Z"
)
_REMEDY = "Write it like 'Mon-Fri 09:00-16:00 Europe/Vienna' or '22:00-04:00'; without a zone it is UTC"
_WEEK_MIN = 7 * 24 * 60


@dataclass(frozen=True)
class Window:
    """Days (0 is Monday) and minutes of the day, in a time zone. It may go over midnight: then the day is its first."""

    text: str
    days: frozenset[int]
    opens: int
    closes: int
    zone: str

    def is_open(self, at_ms: int) -> bool:
        at = datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(_zone(self.zone))
        minute = at.hour * 60 + at.minute
        if self.opens < self.closes:
            return at.weekday() in self.days and self.opens <= minute < self.closes
        if minute >= self.opens:
            return at.weekday() in self.days
        return minute < self.closes and (at.weekday() - 1) % 7 in self.days

    def opens_next(self, at_ms: int) -> int:
        """The first minute from now on at which it is open, in ms."""
        start = datetime.fromtimestamp(at_ms / 1000, UTC).replace(second=0, microsecond=0)
        for minutes in range(_WEEK_MIN + 24 * 60):
            moment = start + timedelta(minutes=minutes)
            if self.is_open(round(moment.timestamp() * 1000)):
                return max(at_ms, round(moment.timestamp() * 1000))
        return at_ms


def parse(text: str) -> Window:
    """Raises TidegateError."""
    found = _PATTERN.match(text.strip())
    if found is None:
        raise TidegateError(f"{text!r:.80} is not a window of time", _REMEDY)
    opens, closes = int(found[2]) * 60 + int(found[3]), int(found[4]) * 60 + int(found[5])
    if opens == closes or closes > 24 * 60:
        raise TidegateError(f"{text!r:.80} is not a window of time", _REMEDY)
    zone = found[6] or "UTC"
    try:
        _zone(zone)
    except (ValueError, OSError, KeyError):  # ZoneInfoNotFoundError is a KeyError
        raise TidegateError(
            f"there is no time zone {zone!r:.64} here", "Write it like Europe/Vienna; Debian has them in tzdata"
        ) from None
    return Window(text.strip(), _weekdays(found[1]), opens, closes, zone)


@lru_cache(maxsize=64)
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)


def _weekdays(text: str | None) -> frozenset[int]:
    if text is None:
        return frozenset(range(7))
    days: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        last = last or first
        if first not in _DAYS or last not in _DAYS:
            raise TidegateError(f"{part!r:.40} are not days", f"Days are {', '.join(_DAYS)}; write Mon-Fri or Sat,Sun")
        start, end = _DAYS.index(first), _DAYS.index(last)
        days |= {(start + n) % 7 for n in range((end - start) % 7 + 1)}
    return frozenset(days)
