"""Housekeeping beside everything else, with ten thousand devices: nobody waits for it."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Iterator
from typing import Any

import large_database
import pytest
from large_database import DEVICES, SERIES, device_id
from server_process import eventually
from sqlalchemy import event, func, insert, select, text

from ota_server.store import Store, commands, now_ms, progress, retention
from ota_server.store.clock import Clock, Reading
from ota_server.store.housekeeper import Housekeeper
from ota_server.store.models import Alarm, ClockSeen, Command, Point, Report, Series

DAY_MS = 86_400_000


@pytest.fixture(scope="module")
def fleet(tmp_path_factory) -> Iterator[Store]:
    store = large_database.fill(f"sqlite:///{tmp_path_factory.mktemp('fleet')}/tidegate.db")
    with store.write() as session:
        series = dict(session.execute(select(Series.id, Series.device_id)).all())
        now = now_ms()
        session.execute(
            insert(Point), [{"series_id": row, "at": now - (row % 10) * DAY_MS, "number": 1.0} for row in series]
        )
        crowded = [device_id(number) for number in range(0, DEVICES, 100)]
        rows = [{"device_id": one, "sequence": n, "phase": "offered", "body": {}} for one in crowded for n in range(12)]
        session.execute(insert(Report), rows)
    yield store
    store.close()


class Transactions:
    """How long each writing transaction of a store holds the lock, in seconds."""

    def __init__(self, store: Store) -> None:
        self.held: list[float] = []
        self._since = 0.0
        event.listen(store.engine, "begin", self._begin)
        event.listen(store.engine, "commit", self._end)

    def _begin(self, connection: Any) -> None:
        self._writes = connection.get_execution_options().get("tidegate_write")
        self._since = time.thread_time()

    def _end(self, _connection: Any) -> None:
        if self._writes:
            self.held.append(time.thread_time() - self._since)


def test_a_round_is_many_short_transactions(fleet, monkeypatch):
    monkeypatch.setattr(retention, "KEEP_REPORTS", 10)
    transactions, began = Transactions(fleet), time.thread_time()
    assert retention.prune_rows(fleet) == 2 * DEVICES // 100
    assert retention.prune_old(fleet, retention.Keep(days=4.5)) == DEVICES * SERIES // 2
    spent = time.thread_time() - began
    assert max(transactions.held) < 0.25, "of CPU; it was 9 to 14 s in one transaction"
    assert len(transactions.held) > 100 and spent < 60
    with fleet.read() as session:
        assert session.scalar(select(func.count()).select_from(Report)) == DEVICES // 100 * 10
        assert session.scalar(select(func.sum(Series.points))) == session.scalar(select(func.count(Point.id)))
    del transactions.held[:]
    began = time.thread_time()
    assert retention.prune_rows(fleet) + retention.prune_many(fleet, retention.Keep(rows=10)) == 0
    assert transactions.held == [] and time.thread_time() - began < 0.5, "a round with nothing to do writes nothing"


def test_the_oldest_of_a_crowded_device_go_whatever_series_they_are_of(fleet):
    with fleet.write() as session:
        ids = session.scalars(select(Series.id).where(Series.device_id == device_id(7))).all()
        rows = [{"series_id": ids[n % 5], "at": 1000 + n, "number": float(n)} for n in range(1000)]
        session.execute(insert(Point), rows)
        for row in ids:
            session.execute(text("UPDATE series SET points = points + 200 WHERE id = :id").bindparams(id=row))
    with fleet.read() as session:
        held = session.scalar(select(func.sum(Series.points)).where(Series.device_id == device_id(7)))
    assert retention.prune_many(fleet, retention.Keep(rows=held - 650)) == 650
    with fleet.read() as session:
        left = session.scalars(select(Point.number).where(Point.series_id.in_(ids), Point.at < 10_000)).all()
        assert sorted(left) == [float(n) for n in range(650, 1000)]


def test_another_limit_looks_at_everything_again(fleet, monkeypatch):
    monkeypatch.setattr(retention, "KEEP_REPORTS", 9)
    assert retention.prune_rows(fleet) == DEVICES // 100
    monkeypatch.setattr(retention, "KEEP_REPORTS", 8)
    assert retention.prune_rows(fleet) == DEVICES // 100
    with fleet.read() as session:
        assert progress.get(session, "reports above 8") == session.scalar(select(func.max(Report.id)))


class SetClock:
    """A clock that a test sets; time passes as it really does."""

    def __init__(self) -> None:
        self.ahead_ms = 0
        self._began = time.monotonic()

    def __call__(self) -> Reading:
        up = round((time.monotonic() - self._began) * 1000) + 1_000_000
        return Reading(1_800_000_000_000 + up + self.ahead_ms, up)


def test_a_clock_that_jumped_deletes_nothing_until_a_person_says_so(tmp_path, monkeypatch):
    from ota_server.store import clock as clocks
    from ota_server.store import clock_record, housekeeper

    monkeypatch.setattr(housekeeper, "PRUNE_S", 0.1)
    monkeypatch.setattr(housekeeper, "LOOK_S", 0.05)
    monkeypatch.setattr(housekeeper, "OLD_LEAST_S", 0.1)
    monkeypatch.setattr(housekeeper, "OLD_MOST_S", 0.1)
    store = large_database.fill(f"sqlite:///{tmp_path}/x.db", devices=1, series=1)
    reading = SetClock()
    clock = Clock(reading)
    monkeypatch.setattr(clocks, "CLOCK", clock)
    monkeypatch.setattr(housekeeper, "read", reading)
    with store.write() as session:
        series = session.scalar(select(Series.id))
        session.execute(insert(Point), [{"series_id": series, "at": clock.now_ms() - n, "number": 1.0} for n in (0, 9)])
        row = Command(device_id=device_id(0), cti="01", kid="00", opcode="ping", message=b"signed", digest="d")
        row.state, row.expires_at = "verified", clock.now_ms() + 3_600_000
        commands.add(session, row, "test")

    def left() -> tuple[int, str, bytes | None]:
        with store.read() as session:
            points = session.scalar(select(func.count(Point.id)))
            return points, *session.execute(select(Command.state, Command.message)).one()

    keeper = Housekeeper(store, retention.Keep(days=1), clock)
    keeper.start()
    try:
        for count, days in ((1, 100), (2, -400)):
            reading.ahead_ms = days * DAY_MS
            eventually(functools.partial(_has_alarms, store, count))
            time.sleep(0.5)
            assert left() == (2, "verified", b"signed")
            assert abs(clock.now_ms() - 1_800_000_000_000 - reading().up) < 1000, "time goes on as it did"
        reading.ahead_ms = 100 * DAY_MS
        eventually(lambda: not clock.is_trusted())
        time.sleep(0.2)
        with store.write() as session:
            clock_record.say_right(session, reading())
        eventually(lambda: left() == (1, "expired", None))
        assert clock.is_trusted() and abs(clock.now_ms() - reading().wall) < 1000
        with store.read() as session:
            assert session.scalar(select(ClockSeen.accepted)) is None, "said once, it counts once"
    finally:
        keeper.stop()
    store.close()


def _has_alarms(store: Store, count: int) -> bool:
    with store.read() as session:
        return session.scalar(select(func.sum(Alarm.count)).where(Alarm.kind == "clock")) == count


def test_it_gives_way_to_writers_and_ends_when_it_is_stopped(fleet):
    with fleet.write() as session:
        series = session.scalar(select(Series.id))
        session.execute(insert(Point), [{"series_id": series, "at": n, "number": 1.0} for n in range(20_000)])
    waits: list[float] = []
    done = threading.Event()
    pruning = threading.Thread(target=lambda: (retention.prune_old(fleet, retention.Keep(days=4.5)), done.set()))
    pruning.start()
    while not done.wait(0.05):
        began = time.monotonic()
        with fleet.write() as session:
            session.execute(text("UPDATE counter SET value = value"))
        waits.append(time.monotonic() - began)
    pruning.join()
    assert waits and max(waits) < 5
    with fleet.write() as session:
        session.execute(insert(Point), [{"series_id": series, "at": n, "number": 1.0} for n in range(20_000)])
    calls = iter([True, False])
    assert retention.prune_old(fleet, retention.Keep(days=4.5), lambda: next(calls)) == 2 * retention.BATCH
