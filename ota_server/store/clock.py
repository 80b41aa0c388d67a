"""The server's time: what the system's clock says, unless that jumped.

A clock that is set to another century for a minute must not decide what is deleted, nor what a measurement is filed
under. The system counts the time since it was booted, too, and nobody sets that. As long as both advance alike, the
clock is trusted. When it jumps, time goes on as it did before, and nothing is deleted:

- it comes back: nothing has happened;
- it runs evenly for `SETTLE_MS`: somebody has meant it, and the server's time follows; deleting still waits;
- it runs evenly for `HOLD_MS`, or a person says that it is right (`tidegate clock --accept`): it is trusted.

What a server of this machine's present boot saw, another one of the same boot goes on with (`clock_record`). After a
boot nobody knows how long the machine was off: up to `MAX_AWAY_MS` is believed, and never less than nothing.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import NamedTuple

log = logging.getLogger("tidegate.clock")

TOLERANCE_MS = 120_000  # a step that NTP makes, and what a busy machine takes between two looks
SETTLE_MS = 15 * 60_000
HOLD_MS = 24 * 3_600_000
MAX_AWAY_MS = 7 * 24 * 3_600_000
_EARLIEST_MS = 1_735_689_600_000  # 2025: a clock that shows less was not set yet, and may be set to anything
_ANCHOR_MS = 60_000  # clocks drift apart: what is compared with is never older than this


class Reading(NamedTuple):
    """The system's clock in ms since 1970, and the time since the machine was booted in ms, read together."""

    wall: int
    up: int


def read() -> Reading:
    return Reading(time.time_ns() // 1_000_000, time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000)


class Clock:
    """Judges the system's clock at each look; threads may share it."""

    def __init__(self, read: Callable[[], Reading] = read) -> None:
        self._read = read
        self._lock = threading.Lock()
        self._trusted = read()
        self._floor: Reading | None = None  # after a boot: the clock may be set ahead of this, until it has settled
        self._doubted: Reading | None = None  # when the clock was first where it is now
        self._followed = False

    def begin(self, seen: Reading, *, same_boot: bool) -> None:
        """Go on from what a server saw last: in this boot of the machine, or in an earlier one."""
        with self._lock:
            now = self._read()
            self._doubted = None
            if same_boot:
                self._trusted, self._floor = seen, None
                return
            self._trusted = self._floor = Reading(seen.wall, now.up)
            self._judge(now)
            if self._doubted is not None and now.wall > seen.wall:
                self._followed = True  # the machine may have been off for long, and nothing speaks for an earlier time

    def now_ms(self) -> int:
        """The server's time in ms since 1970."""
        now, trusted = self._read(), self._trusted
        if self._doubted is None and self._floor is None and _alike(now, trusted) and now.up - trusted.up < _ANCHOR_MS:
            return now.wall
        with self._lock:
            self._judge(now)
            if self._doubted is None or self._followed:
                return now.wall
            return self._trusted.wall + now.up - self._trusted.up

    def is_trusted(self) -> bool:
        """Whether something may be deleted or expired because it is old."""
        self.now_ms()
        return self._doubted is None and self._floor is None

    def trusted(self) -> Reading:
        """When the clock was right last."""
        self.now_ms()
        return self._trusted

    def doubt(self) -> str | None:
        """What is wrong with the clock, for people; None if nothing is."""
        self.now_ms()
        with self._lock:
            doubted, trusted = self._doubted, self._trusted
            if doubted is None:
                return None
            off = doubted.wall - trusted.wall - (doubted.up - trusted.up)
        return f"the clock jumped {_length(abs(off))} {'ahead' if off > 0 else 'back'}, to {_utc(doubted.wall)}"

    def accept(self) -> None:
        """A person says that the clock is right."""
        with self._lock:
            self._trust(self._read())

    def _judge(self, now: Reading) -> None:
        if self._floor is not None and self._doubted is None and now.up - self._floor.up >= SETTLE_MS:
            self._floor = None
        unset = self._trusted.wall < _EARLIEST_MS
        if unset or _alike(now, self._trusted) or (self._floor is not None and _after(now, self._floor)):
            if self._doubted is not None:
                log.warning("the clock is where it should be again: %s", _utc(now.wall))
            self._trusted, self._doubted, self._followed = now, None, False
        elif self._doubted is None or not _alike(now, self._doubted):
            self._doubted, self._followed = now, False
        elif now.up - self._doubted.up >= HOLD_MS:
            log.warning("the clock has run evenly for a day and is trusted: %s", _utc(now.wall))
            self._trust(now)
        elif now.up - self._doubted.up >= SETTLE_MS:
            self._followed = True

    def _trust(self, now: Reading) -> None:
        self._trusted, self._floor, self._doubted, self._followed = now, None, None, False


def _alike(now: Reading, then: Reading) -> bool:
    return abs(now.wall - then.wall - (now.up - then.up)) <= TOLERANCE_MS


def _after(now: Reading, floor: Reading) -> bool:
    return -TOLERANCE_MS <= now.wall - floor.wall - (now.up - floor.up) <= MAX_AWAY_MS


def _utc(ms: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(ms // 1000))


def _length(ms: int) -> str:
    for unit, name in ((86_400_000, "days"), (3_600_000, "hours"), (60_000, "minutes")):
        if ms >= 2 * unit:
            return f"{ms // unit} {name}"
    return f"{ms // 1000} seconds"


CLOCK = Clock()  # of this process


def now_ms() -> int:
    """The server's time in ms since 1970."""
    return CLOCK.now_ms()


def iso(ms: int) -> str:
    """A time in ms since 1970 as others read it: RFC 3339, in UTC."""
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def to_the_day(ms: int) -> str:
    """The day of a time in ms since 1970, for people."""
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d")


def to_the_minute(ms: int) -> str:
    """A time in ms since 1970, for people."""
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")
