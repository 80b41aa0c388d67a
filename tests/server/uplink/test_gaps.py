"""Packs that never came, by the numbers of those that did."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from databases import postgresql
from sqlalchemy import select

from ota_server.api import timeline_text
from ota_server.store import Store, alarms, device_events, gaps, migrate, now_ms, timeline
from ota_server.store.models import Device, DeviceEvent, Stream
from ota_server.uplink import ingest
from ota_server.uplink.ingest import Message
from tidegate.wire.cbor import dumps

DEVICES = ("gw-1", "gw-2")


@pytest.fixture
def store(tmp_path) -> Iterator[Store]:
    yield from _opened(f"sqlite:///{tmp_path}/x.db")


@pytest.fixture
def on_postgresql() -> Iterator[Store]:
    with postgresql() as url:
        yield from _opened(url)


def _opened(url: str) -> Iterator[Store]:
    migrate(url)
    store = Store(url)
    with store.write() as session:
        session.add_all(Device(id=name, board="unix", product="p", password_hash="x") for name in DEVICES)
    yield store
    store.close()


def pack(number: int, stream: str = "env", device: str = "gw-1", dropped: int = 0) -> Message:
    record = {-2: f"urn:dev:org:tidegate:{device}:", 0: "n", 2: number, -257: number}
    if dropped:
        record[-258] = dropped
    return Message(f"tg/{device}/up/tele/{stream}", dumps([record]), False)


def missing(store: Store) -> dict[tuple[str, str], int]:
    """By device and stream, those that miss any."""
    with store.read() as session:
        rows = session.scalars(select(Stream).where(Stream.missing > 0)).all()
        return {(row.device_id, row.name): row.missing for row in rows}


def entries(store: Store, device: str = "gw-1") -> list[dict]:
    with store.read() as session:
        mine = select(DeviceEvent).where(DeviceEvent.device_id == device, DeviceEvent.kind == "gap")
        return [row.body for row in session.scalars(mine.order_by(DeviceEvent.id))]


def take(store: Store, *packs: Message, together: bool = True) -> None:
    for batch in [packs] if together else [[one] for one in packs]:
        assert ingest.take_all(store, list(batch)) == [None] * len(batch)


@pytest.mark.parametrize("together", [True, False])
def test_what_follows_misses_nothing(store, together):
    numbers = (50_005, 50_006, 50_007, 900_000_000, 900_000_001, 3, 4)  # two boots more
    take(store, *(pack(number) for number in numbers), together=together)
    take(store, pack(4), pack(3), together=together)  # sent again
    take(store, *(pack(number, ("env", "motor")[number % 3 == 0]) for number in range(5, 30)), together=together)
    assert missing(store) == {} and entries(store) == []


@pytest.mark.slow
def test_a_gap_is_counted_on_postgresql(on_postgresql):
    _count_gap(on_postgresql, together=True)


@pytest.mark.parametrize("together", [True, False])
def test_a_gap_is_counted_and_noted(store, together):
    _count_gap(store, together)
    with store.read() as session:
        assert [entry.kind for entry in timeline.newest(session, "gw-1", ["gap"], 5).entries] == ["gap"]


def _count_gap(store: Store, together: bool) -> None:
    take(store, pack(10), pack(11), pack(14), pack(15), pack(17, device="gw-2"), together=together)
    assert missing(store) == {("gw-1", "env"): 2}
    assert entries(store) == [{"stream": "env", "missing": 2, "dropped": 0}]
    take(store, pack(17))
    assert missing(store) == {("gw-1", "env"): 3}
    assert entries(store) == [{"stream": "env", "missing": 3, "dropped": 0}], "in the same minute"
    assert entries(store, "gw-2") == []
    with store.read() as session:
        assert alarms.counters(session) == {"packs that never came": 3}
        assert alarms.listed(session, 10) == []


def test_streams_share_one_count(store):
    take(store, pack(1, "env"), pack(2, "motor"), pack(3, "door"))
    take(store, pack(4, "env"))
    take(store, pack(7, "motor"))  # 5 and 6
    take(store, pack(8, "env"))
    take(store, pack(9, "door"), pack(11, "door"))
    assert missing(store) == {("gw-1", "motor"): 2, ("gw-1", "door"): 1}


def test_what_the_device_dropped_is_said_beside(store):
    take(store, pack(1), pack(4, dropped=2))
    assert entries(store) == [{"stream": "env", "missing": 2, "dropped": 2}]
    with store.read() as session:
        row = session.scalars(select(DeviceEvent)).one()
        text = timeline_text._EVENTS["gap"](row.body)
    assert text == "2 packs of telemetry never came, seen on stream env; the device says it dropped 2"


def test_a_late_pack_takes_one_off(store):
    take(store, pack(1), pack(3), pack(2), pack(4))
    assert missing(store) == {}
    take(store, pack(6), pack(5), pack(7))
    assert missing(store) == {}


def test_a_minute_later_is_another_entry(store):
    take(store, pack(1), pack(3))
    with store.write() as session:
        session.scalars(select(DeviceEvent)).one().at = now_ms() - device_events.GAP_MS
    take(store, pack(5))
    assert [one["missing"] for one in entries(store)] == [1, 1]


def test_the_largest_gap():
    assert gaps.before(10 + gaps.MOST + 1, [10]) == gaps.MOST
    assert gaps.before(10 + gaps.MOST + 2, [10]) == 0
    assert gaps.before(5, []) == gaps.before(5, [6]) == gaps.before(5, [4]) == 0


def test_packs_without_a_number_count_nothing(store):
    bare = {-2: "urn:dev:org:tidegate:gw-1:", -3: 1_790_000_000, 0: "n", 2: 1}
    take(store, pack(1), Message("tg/gw-1/up/tele/env", dumps([bare]), False), pack(2))
    assert missing(store) == {}
