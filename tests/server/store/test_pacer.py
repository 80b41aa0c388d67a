"""Who carries rollouts on: only while devices can be heard, and it notes when they could not be."""

from __future__ import annotations

import threading

from staged_fleet import HOUR, MINUTE, Fleet

from ota_server.fleet.waves.pacer import Pacer
from ota_server.store import absences
from ota_server.store.clock import Clock, Reading

STOPPING = threading.Event()


class Stage:
    """A pacer of a fleet, with a clock and a broker in the test's hand."""

    def __init__(self, url: str) -> None:
        self.fleet = Fleet(url, 10)
        self.is_heard = True
        self.up = 0
        began = self.fleet.now
        clock = Clock(lambda: Reading(began + self.up, self.up))
        self.pacer = Pacer(self.fleet.store, lambda: None, clock, hears=lambda: self.is_heard)

    def look(self, after_ms: int = 0) -> None:
        """Looks at each half minute until then, as it does at each two seconds."""
        for _ in range(max(1, after_ms // 30_000)):
            self.up += 30_000 if after_ms else 0
            self.pacer.once(STOPPING)

    def away(self) -> int:
        with self.fleet.store.read() as session:
            return absences.after(session, 0)


def test_it_notes_when_the_broker_was_away_and_not_while_it_is(empty):
    stage = Stage(empty)
    stage.look(10 * MINUTE)
    stage.is_heard = False
    stage.look(HOUR)
    assert stage.away() == 0
    stage.is_heard = True
    stage.look(10 * MINUTE)
    assert stage.away() == HOUR + 30_000 + absences.SETTLE_MS


def test_it_offers_nothing_while_nobody_is_heard(empty):
    stage = Stage(empty)
    stage.fleet.release("1.1.0", 2)
    stage.is_heard = False
    stage.fleet.start(waves="100%")
    before = stage.fleet.offered()
    stage.fleet.add(range(100, 110))
    stage.look(MINUTE)
    assert stage.fleet.offered() == before
    stage.is_heard = True
    stage.look(MINUTE)
    assert len(stage.fleet.offered()) == 20
