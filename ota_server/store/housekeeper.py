"""Housekeeping, in a thread of its own: what is over is ended, what is too much is deleted, the clock is watched.

Nobody waits for it: not a start, nor what files messages, sends offers or answers requests. Each transaction is short,
and between two of them there is a pause. Nothing is deleted or expired while the clock is in doubt.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque

from ota_server import meters
from ota_server.errors import log_trouble
from ota_server.repeated import ERROR_PAUSE_S, Repeated
from ota_server.store import alarms, clock_record, commands, retention, rollups, version_counts
from ota_server.store.clock import CLOCK, Clock, read
from ota_server.store.engine import Store

log = logging.getLogger("tidegate.housekeeping")

LOOK_S = 1.0  # between looks for commands that are over
ROLL_UP_S = 10.0
SEEN_S = 30.0  # PostgreSQL: points that have a number are all visible after so long
PRUNE_S = 30.0
COUNT_S = 3600.0  # between counts of devices by version
NOTE_S = 60.0  # between notes of the clock in the database
OLD_LEAST_S, OLD_MOST_S = 30.0, 3600.0  # between looks for old telemetry: a hundredth of its age
PAUSE_S = 0.02  # between two transactions


class Housekeeper(Repeated):
    """One thread for each server; several servers of one database may each have one."""

    def __init__(self, store: Store, keep: retention.Keep = retention.Keep(), clock: Clock = CLOCK) -> None:  # noqa: B008
        super().__init__("housekeeping", log, "housekeeping waits", every_s=LOOK_S)
        self._store = store
        self._keep = keep
        self._clock = clock
        self._doubt: str | None = None
        self._old_s = min(max(keep.days * 864, OLD_LEAST_S), OLD_MOST_S)
        self._points_seen = deque[tuple[float, int]]()  # their newest number, and when that was
        self._due = {
            self._look: LOOK_S,
            self._watch_clock: LOOK_S,
            self._roll_up: ROLL_UP_S,  # before points are deleted
            self._count_versions: COUNT_S,
            self._prune: PRUNE_S,
            self._prune_old: self._old_s,
        }
        self._next = dict.fromkeys(self._due, 0.0)
        self._note_at = 0.0

    def once(self, stopping: threading.Event) -> None:
        """All that is due; what fails holds up nothing else."""
        for work, every_s in self._due.items():
            if stopping.is_set() or time.monotonic() < self._next[work]:
                continue
            began, name = time.monotonic(), work.__name__.strip("_")
            try:
                work()
                meters.kept_house(name, time.time(), time.monotonic() - began)
            except Exception as error:  # the database may be locked, full or away for a while
                meters.house_failed(name)
                log_trouble(log, error, "housekeeping waits; next try in %d s", max(every_s, ERROR_PAUSE_S))
                every_s = max(every_s, ERROR_PAUSE_S)
            self._next[work] = time.monotonic() + every_s

    def _go_on(self) -> bool:
        """Between two transactions: others get their turn."""
        return not self._stopping.wait(PAUSE_S) and self._clock.is_trusted()

    def _look(self) -> None:
        if not self._clock.is_trusted():
            return
        with self._store.read() as session:
            over = commands.over(session)
        if over:
            with self._store.write() as session:
                commands.end(session)

    def _count_versions(self) -> None:
        if self._clock.is_trusted():
            with self._store.write() as session:
                version_counts.note(session, self._clock.now_ms())

    def _prune(self) -> None:
        if not self._clock.is_trusted():
            return
        while retention.erase_commands(self._store) == commands.BATCH and self._go_on():
            pass
        gone = retention.prune_rows(self._store, self._go_on)
        gone += retention.prune_many(self._store, self._keep, self._go_on)
        if gone:
            log.info("%d rows above the limits are deleted", gone)

    def _roll_up(self) -> None:
        with self._store.read() as session:
            newest = rollups.newest_point(session)
        if not self._store.on_postgresql:
            last = newest
        else:  # a lower number may become visible after a higher one
            self._points_seen.append((time.monotonic(), newest))
            last = 0
            while self._points_seen and self._points_seen[0][0] <= time.monotonic() - SEEN_S:
                last = self._points_seen.popleft()[1]
        rollups.advance(self._store, last, lambda: not self._stopping.wait(PAUSE_S))

    def _prune_old(self) -> None:
        if self._clock.is_trusted():
            rollups.prune(self._store, self._go_on)
            gone = retention.prune_old(self._store, self._keep, self._go_on)
            if gone:
                log.info("%d points older than %g days are deleted", gone, self._keep.days)

    def _watch_clock(self) -> None:
        doubt = self._clock.doubt()
        if doubt is None:
            self._doubt = None
            if time.monotonic() >= self._note_at and self._clock.is_trusted():
                with self._store.write() as session:
                    clock_record.note(session, self._clock)
                self._note_at = time.monotonic() + NOTE_S
            return
        if self._doubt != doubt:
            log.warning("%s; nothing is deleted until it has run evenly for a day, or: tidegate clock --accept", doubt)
            with self._store.write() as session:
                alarms.raise_server_alarm(session, None, "clock", "jumped", doubt)
            self._doubt = doubt
        with self._store.read() as session:
            said = clock_record.said_right(session, read())
        if said:
            with self._store.write() as session:
                clock_record.forget_said(session)
            self._clock.accept()
            log.warning("somebody said that the clock is right: it is trusted")
