"""Roll-ups, beside what the points themselves say, on both databases; and history of a device with many points."""

from __future__ import annotations

import random

import large_database
import pytest
from at_once import together
from large_database import device_id
from sqlalchemy import delete, func, insert, select

from ota_server.store import Store, now_ms, rollups, telemetry
from ota_server.store.models import Point, Rollup, Series
from ota_server.store.rollups import KEEP_DAYS, STEPS_MS, Query

SEED = random.randrange(2**32)
MINUTE, HOUR, DAY = STEPS_MS.values()


def go_on() -> bool:
    return True


@pytest.fixture
def store(empty) -> Store:
    """Two devices with three series; points of the last hours and days in no order, some texts among them."""
    store = large_database.fill(empty, devices=2, series=3)
    chance, now = random.Random(SEED), now_ms()
    with store.write() as session:
        series = session.scalars(select(Series.id)).all()
        rows = [
            {"series_id": chance.choice(series), "at": now - chance.randrange(6 * 60) * chance.randrange(60_000)}
            | ({"number": round(chance.uniform(-50, 50), 3), "text": None} if n % 7 else {"number": None, "text": "x"})
            for n in range(3000)
        ]
        session.execute(insert(Point), rows)
    yield store
    store.close()


def reckoned(store: Store, step_ms: int) -> dict[tuple[int, int], tuple[int, float, float, float]]:
    found: dict[tuple[int, int], list[float]] = {}
    with store.read() as session:
        for row in session.scalars(select(Point).where(Point.number.is_not(None))):
            found.setdefault((row.series_id, row.at - row.at % step_ms), []).append(row.number)
    return {key: (len(some), min(some), max(some), pytest.approx(sum(some))) for key, some in found.items()}


def stored(store: Store, step_ms: int) -> dict[tuple[int, int], tuple[int, float, float, float]]:
    with store.read() as session:
        rows = session.scalars(select(Rollup).where(Rollup.step_ms == step_ms))
        return {(row.series_id, row.at): (row.count, row.least, row.most, row.total) for row in rows}


def test_they_say_what_the_points_say_however_they_came(store, monkeypatch):
    monkeypatch.setattr(rollups, "BATCH", 271)
    with store.read() as session:
        last = rollups.newest_point(session)
    assert rollups.advance(store, last // 3, lambda: False) == 271, "it can be interrupted"
    assert rollups.advance(store, last // 3, go_on) == last // 3 - 271
    together(3, lambda _number: rollups.advance(store, last, go_on))
    for step_ms in STEPS_MS.values():
        assert stored(store, step_ms) == reckoned(store, step_ms), SEED
    assert rollups.advance(store, last, go_on) == 0
    with store.write() as session:  # one that was stored on the device for a day
        session.execute(insert(Point), [{"series_id": 1, "at": now_ms() - DAY, "number": 1e6}])
        last = rollups.newest_point(session)
    assert rollups.advance(store, last, go_on) == 1
    for step_ms in STEPS_MS.values():
        assert stored(store, step_ms) == reckoned(store, step_ms), SEED


def test_pages_are_newest_first_and_miss_nothing(store):
    with store.read() as session:
        last = rollups.newest_point(session)
    rollups.advance(store, last, go_on)
    with store.read() as session:
        series = [row.id for row in telemetry.series(session, device_id(0))]
        for step in STEPS_MS:
            pages, before = [], None
            while page := rollups.listed(session, Query(series, step), 7, before):
                pages += page
                before = page[-1].at, page[-1].series_id
            found = [(row.series_id, row.at) for row in pages]
            of_device = [key for key in reckoned(store, STEPS_MS[step]) if key[0] in series]
            assert found == sorted(of_device, key=lambda key: (-key[1], -key[0])), SEED
        since = now_ms() - 3 * HOUR
        assert {row.at for row in rollups.listed(session, Query(series, "hour", since, now_ms()), 500)} == {
            at for row, at in reckoned(store, HOUR) if row in series and at >= since - since % HOUR
        }


def test_they_stay_longer_than_points_and_not_for_ever(store):
    now = now_ms()
    rows = [
        {"series_id": 1, "step_ms": ms, "at": now - days * DAY, "count": 1, "least": 0, "most": 0, "total": 0}
        for step, ms in STEPS_MS.items()
        for days in (KEEP_DAYS[step] - 1, KEEP_DAYS[step] + 1)
    ]
    with store.write() as session:
        session.execute(delete(Rollup))
        session.execute(insert(Rollup), rows)
    assert rollups.prune(store, go_on) == 3
    with store.read() as session:
        assert session.scalar(select(func.min(Rollup.at))) == now - (KEEP_DAYS["day"] - 1) * DAY


def test_the_step_that_fits_a_page():
    now = now_ms()
    assert rollups.finest(now - HOUR, now, 500) == "minute"
    assert rollups.finest(now - DAY, now, 500) == "hour"
    assert rollups.finest(now - 100 * DAY, now, 500) == "day"
    assert rollups.finest(now - 30 * DAY, now - 30 * DAY + HOUR, 500) == "hour", "minutes of then are gone"
    assert rollups.finest(0, now, 500) == "day"


def test_history_is_in_order_whether_series_are_merged_or_sorted(store, monkeypatch):
    with store.read() as session:
        merged = telemetry.history(session, device_id(0), telemetry.Query(), 400)
        monkeypatch.setattr(telemetry, "_MERGED", 0)
        assert telemetry.history(session, device_id(0), telemetry.Query(), 400) == merged
        rows = [(point.at, point.id) for point, _ in merged]
        assert rows == sorted(rows, reverse=True) and len(rows) == 400
        monkeypatch.undo()
        following = telemetry.history(session, device_id(0), telemetry.Query(), 400, rows[99])
        assert following[:300] == merged[100:]
