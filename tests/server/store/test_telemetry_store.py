"""Telemetry from the message to the row, on SQLite and on PostgreSQL: once, in order, bounded, found again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config as AlembicConfig
from alembic.migration import MigrationContext
from at_once import together

from ota_server.security import audit
from ota_server.store import Store, alarms, commands, engine, migrate, now_ms, retention, telemetry, telemetry_filing
from ota_server.store.models import Alarm, Base, Command, Device, Point, Series, Stream
from ota_server.uplink import ingest
from tidegate.errors import Refused
from tidegate.wire.cbor import dumps

BASE = "urn:dev:org:tidegate:gw-1:"
DAY_MS = 86_400_000


@pytest.fixture
def store(empty: str) -> Iterator[Store]:
    migrate(empty)
    store = Store(empty)
    with store.write() as session:
        session.add(Device(id="gw-1", board="unix", product="p", password_hash="x"))
    yield store
    store.close()


def take(store: Store, pack: Any, stream: str = "env", device: str = "gw-1") -> Refused | None:
    payload = pack if isinstance(pack, bytes) else dumps(pack)
    return ingest.take(store, ingest.Message(f"tg/{device}/up/tele/{stream}", payload, False))


def values(store: Store, **query: Any) -> list[Any]:
    """Oldest first."""
    with store.read() as session:
        rows = telemetry.history(session, "gw-1", telemetry.Query(**query), 10_000)
    return [point.number if point.number is not None else point.text for point, _ in rows[::-1]]


def stream_of(store: Store, name: str = "env") -> Stream:
    with store.read() as session:
        return session.get(Stream, ("gw-1", name))


def test_the_migrations_make_the_models(empty):
    migrate(empty)
    migrate(empty)

    def but_partitions(name, kind, _parents) -> bool:
        """They come and go with the weeks (store/partitions.py)."""
        return kind != "table" or not name.startswith("point_")

    with Store(empty).engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"include_name": but_partitions})
        assert compare_metadata(context, Base.metadata) == []


def test_telemetry_of_older_versions_is_taken_along_and_back(empty):
    config = AlembicConfig()
    config.set_main_option("script_location", str(engine.Path(engine.__file__).parent / "migrations"))
    database = engine._make_engine(empty, foreign_keys=False)  # as `migrate` does

    def go(where: str) -> None:
        with database.execution_options(tidegate_write=True).begin() as connection:
            config.attributes["connection"] = connection
            (command.upgrade if where in ("0003", "head") else command.downgrade)(config, where.removeprefix("back "))

    def insert(table: str, **row: Any) -> None:
        with database.begin() as connection:
            names = ", ".join(row)
            connection.execute(sa.text(f"INSERT INTO {table} ({names}) VALUES (:{', :'.join(row)})"), row)

    go("0003")
    insert(
        "device",
        id="gw-1",
        board="b",
        product="p",
        password_hash="x",
        created_at=1,
        protocol="mqtt",
        online=False,
        trial=False,
    )
    for number in range(5):
        shared: dict[str, Any] = {"device_id": "gw-1", "stream": "env", "at": 1000 + number, "unit": "Cel"}
        insert("measurement", **shared, name="t", number=20.5 + number, text=None)
        insert("measurement", **shared, name="w", number=None, text=f"word {number}")
    insert("latest", device_id="gw-1", name="t", at=1004, unit="Cel", number=24.5, text=None)
    go("head")
    store = Store(empty)
    assert values(store, name="t") == [20.5, 21.5, 22.5, 23.5, 24.5]
    with store.read() as session:
        rows = {
            row.name: (row.number, row.text, row.unit, row.at, row.points) for row in telemetry.latest(session, "gw-1")
        }
    assert rows == {"t": (24.5, None, "Cel", 1004, 5), "w": (None, "word 4", None, 1004, 5)}
    store.close()
    go("back 0003")
    with database.begin() as connection:
        assert connection.execute(sa.text("SELECT count(*) FROM measurement")).scalar() == 10
        assert connection.execute(sa.text("SELECT number FROM latest WHERE name = 't'")).scalar() == 24.5
    go("head")
    database.dispose()


def test_a_numbered_pack_is_filed_once_whatever_its_ages_say(store):
    first = [{-2: BASE, -257: 7, 0: "t", 2: 1.0}]
    for pack in (first, first, [{-2: BASE, -257: 7, 0: "t", 2: 1.0, 6: -30}]):
        assert take(store, pack) is None
    assert take(store, [{-2: BASE, -257: 8, 0: "t", 2: 1.0}]) is None, "another with the same value is another"
    assert values(store) == [1.0, 1.0]
    row = stream_of(store)
    assert (row.packs, row.repeated) == (2, 2)
    assert take(store, first, stream="other") is None
    assert values(store, stream="other") == [1.0], "numbers count by stream"


def test_a_pack_with_a_clock_is_known_by_its_bytes_and_one_without_is_not(store):
    timed = [{-2: BASE, -3: now_ms() / 1000 - 60, 0: "t", 2: 1.0}, {0: "t", 2: 2.0, 6: 1}]
    for _ in range(3):
        take(store, timed)
    assert values(store) == [1.0, 2.0]
    for _ in range(2):
        take(store, [{-2: BASE, 0: "u", 2: 5.0}])
    assert values(store, name="u") == [5.0, 5.0], "a steady value is said again and again: nothing may be lost of that"


def test_packs_are_known_by_their_numbers_over_two_boots(store):
    """They have no time of their own, as most; a broker that was restarted sends any of them again, in their order."""
    boots = [range(5000, 5300), range(900_000, 900_200)]
    for number in (*boots[0], *boots[1], *boots[0], *boots[1]):
        take(store, [{-2: BASE, -257: number, 0: "t", 2: number}])
    assert values(store) == [*boots[0], *boots[1]]
    assert (stream_of(store).packs, stream_of(store).repeated) == (500, 500)


def test_a_boot_that_counts_where_an_earlier_one_did_loses_nothing(store):
    for number in range(200):
        take(store, [{-2: BASE, -257: number, 0: "t", 2: number}])
    for number in range(50, 100):
        take(store, [{-2: BASE, -257: number, 0: "t", 2: number + 0.5}])
    assert len(values(store)) == 250 and stream_of(store).repeated == 0


def test_a_batch_knows_what_it_has_filed_itself(store):
    payloads = [dumps([{-2: BASE, -257: number, 0: "t", 2: number}]) for number in range(150)]
    ingest.take_all(store, [ingest.Message("tg/gw-1/up/tele/env", one, False) for one in 2 * payloads])
    assert values(store) == list(range(150)) and stream_of(store).repeated == 150


@pytest.mark.parametrize("is_counted", [True, False])
def test_packs_older_than_that_are_looked_up(store, is_counted):
    """A broker's node that died sends again what the server acknowledged, however much that is."""
    began = now_ms() / 1000 - 3600

    def pack(number: int) -> list[dict[int, Any]]:
        count = {-257: number} if is_counted else {}
        return [{-2: BASE, -3: began + number, 0: "t", 2: number, **count}, {0: "word", 3: f"w {number}"}]

    never = {20, 140}
    for number in range(200):
        if number not in never:
            take(store, pack(number))
    for number in range(200):
        if number not in never:
            take(store, pack(number))
    assert values(store, name="t") == [number for number in range(200) if number not in never]
    assert (stream_of(store).packs, stream_of(store).repeated) == (198, 198)
    for number in never:
        take(store, pack(number))
        take(store, pack(number))
    assert values(store, name="t") == list(range(200)), "what never came is no repetition, however late it is"
    assert (stream_of(store).packs, stream_of(store).repeated, stream_of(store).missing) == (200, 200, 0)


def test_times(store):
    """Absolute ones as they are; relative ones, and those that cannot be, by when the pack came."""
    before = now_ms()
    pack = [
        {-2: BASE, 0: "now", 2: 1},
        {0: "ago", 2: 2, 6: -90.5},
        {0: "clock", 2: 3, 6: 1_700_000_000.25},
        {0: "future", 2: 4, 6: 2**40},
        {0: "past", 2: 5, 6: -(2**40)},
    ]
    take(store, pack)
    after = now_ms()
    with store.read() as session:
        at = {row.name: row.at for row in telemetry.latest(session, "gw-1")}
        raised = [(a.kind, a.reason) for a in alarms.listed(session, 10, "gw-1")]
    assert before <= at["now"] <= after and before - 90_500 <= at["ago"] <= after - 90_500
    assert at["clock"] == 1_700_000_000_250
    assert before <= at["future"] <= after and before <= at["past"] <= after
    assert raised == [("clock", "impossible-time")]


def test_what_comes_late_is_in_its_place_and_not_the_newest(store):
    now = now_ms() / 1000
    take(store, [{-2: BASE, -3: now, 0: "t", 2: 3.0}])
    take(store, [{-2: BASE, -3: now - 3600, 0: "t", 2: 1.0}, {0: "t", 2: 2.0, 6: 60}])
    assert values(store) == [1.0, 2.0, 3.0]
    with store.read() as session:
        assert telemetry.latest(session, "gw-1")[0].number == 3.0


def test_lost_packs_are_added_up_and_raise_an_alarm(store):
    for number, dropped in enumerate((0, 5, 5, 12, 3, None, 2)):  # it was reset after the fourth, and after the fifth
        said = {} if dropped is None else {-258: dropped}
        take(store, [{-2: BASE, -257: number, **said, 0: "t", 2: 1.0}])
    assert stream_of(store).dropped == 17
    with store.read() as session:
        raised = session.scalars(sa.select(Alarm)).all()
    assert [(a.kind, a.reason, a.count) for a in raised] == [("telemetry-lost", "env", 17)]


def test_what_cannot_be_filed_leaves_nothing(store):
    for pack in (
        b"\xff",
        [],
        [{-2: BASE, -257: -1, 0: "t", 2: 1.0}],
        [{-2: BASE, -257: 2**32, 0: "t", 2: 1.0}],
        [{-2: BASE, -258: True, 0: "t", 2: 1.0}],
        [{-2: "urn:dev:org:tidegate:gw-2:", 0: "t", 2: 1.0}],
        [{-2: BASE, 0: "t", 2: 1.0}, {-2: "x:", 0: "t", 2: 1.0}],
        [{-2: BASE, 0: "t"}],
    ):
        assert isinstance(take(store, pack), Refused), pack
    assert values(store) == [] and stream_of(store) is None


def test_names_and_streams_are_bounded(store):
    for start in range(0, telemetry_filing.MAX_SERIES + 64, 64):
        take(store, [{-2: BASE, 0: f"m{start}", 2: 1}, *({0: f"m{start + n}", 2: 1} for n in range(1, 64))])
    with store.read() as session:
        assert len(telemetry.series(session, "gw-1")) == telemetry_filing.MAX_SERIES
    for number in range(telemetry_filing.MAX_STREAMS + 5):
        take(store, [{-2: BASE, 0: "m1", 2: 1}], stream=f"s{number}")
    with store.read() as session:
        assert len(telemetry.streams(session, "gw-1")) <= telemetry_filing.MAX_STREAMS


def test_pages_neither_repeat_nor_leave_out(store):
    now = now_ms()
    for number in range(30):
        stamp = (now - (number % 10) * 1000) / 1000  # three of each time
        take(store, [{-2: BASE, -3: stamp, -257: number, 0: f"m{number % 2}", 2: number}])
    seen: list[float] = []
    before = None
    while True:
        with store.read() as session:
            page = telemetry.history(session, "gw-1", telemetry.Query(), 7, before)
        seen += [point.number for point, _ in page]
        if len(page) < 7:
            break
        before = page[-1][0].at, page[-1][0].id
    assert sorted(seen) == list(range(30))
    assert len(values(store, name="m1")) == 15 and values(store, stream="none") == []
    assert len(values(store, since=now - 3000)) == 12 and len(values(store, since=now - 3000, until=now)) == 9
    with store.read() as session:
        rows = telemetry.arrived(session, "gw-1", telemetry.Query(name="m0"), 5, 0)
    assert [point.number for point, _ in rows] == [0, 2, 4, 6, 8]


def test_retention_by_age_and_by_rows_in_batches(store, monkeypatch):
    with store.write() as session:
        for name, count, age in (("old", 50, 10), ("new", 60, 1)):
            row = Series(device_id="gw-1", stream="env", name=name, at=0, points=count)
            session.add(row)
            session.flush()
            first = now_ms() - age * DAY_MS
            session.add_all(Point(series_id=row.id, at=first + n, number=n, text=None) for n in range(count))

    monkeypatch.setattr(retention, "BATCH", 20)
    monkeypatch.setattr(retention, "BATCH_APART", 20)

    def prune(days: float, rows: int) -> tuple[int, int]:
        keep, pauses = retention.Keep(days, rows), []
        gone = retention.prune_old(store, keep, lambda: pauses.append(1) or True)
        gone += retention.prune_many(store, keep, lambda: pauses.append(1) or True)
        return gone, len(pauses)

    assert prune(30, 100) == (10, 1), "the oldest, of whichever series"
    assert values(store, name="old")[0] == 10
    assert prune(5, 100) == (40, 2), "all that is older than five days, twenty in a transaction"
    assert values(store, name="old") == [] and len(values(store, name="new")) == 60
    assert prune(5, 7) == (53, 3) and values(store) == list(range(53, 60))
    with store.read() as session:
        assert {row.name: row.points for row in telemetry.series(session, "gw-1")} == {"old": 0, "new": 7}
    take(store, [{-2: BASE, 0: "new", 2: 99.0}])
    assert values(store)[-1] == 99.0


def test_many_workers_file_each_pack_once(store):
    """As with several brokers' workers, each of which sees the same messages."""

    def work(_number: int) -> None:
        for number in range(25):
            assert take(store, [{-2: BASE, -257: number, 0: "t", 2: number}, {0: "u", 2: -number}]) is None

    together(4, work)
    assert sorted(values(store, name="t")) == list(range(25))
    row = stream_of(store)
    assert (row.packs, row.repeated) == (25, 75)
    with store.read() as session:
        assert {series.points for series in telemetry.series(session, "gw-1")} == {25}


def test_the_rest_of_the_store_under_many_writers(store):
    with store.write() as session:
        for i in range(10):
            session.add(Device(id=f"gw-c{i}", board="unix", product="p", password_hash="x", online=True))
            session.flush()
            row = {"cti": str(i), "kid": "k", "opcode": "o", "message": b"m", "state": "verified", "expires_at": 2**50}
            session.add(Command(device_id=f"gw-c{i}", **row))
    claimed: list[int] = []

    def work(number: int) -> None:
        for row in range(1, 11):
            with store.write() as session:
                alarms.count(session, "x")
            with store.write() as session:
                audit.record(session, f"writer {number}", "test", str(row))
            with store.write() as session:
                if commands.claim(session, row):
                    claimed.append(row)

    together(8, work)
    assert sorted(claimed) == list(range(1, 11))
    with store.read() as session:
        assert alarms.counters(session) == {"x": 80} and audit.first_break(session) is None


def test_points_of_the_same_time_are_deleted_in_the_order_they_were_filed(store, monkeypatch):
    """Two series of a device, thirty points of each at three times; of the middle one only some go."""
    monkeypatch.setattr(retention, "BATCH", 8)
    monkeypatch.setattr(retention, "BATCH_APART", 8)
    now = now_ms()
    with store.write() as session:
        for name in ("a", "b"):
            row = Series(device_id="gw-1", stream="env", name=name, at=0, points=30)
            session.add(row)
            session.flush()
            session.add_all(Point(series_id=row.id, at=now + n // 10, number=n, text=None) for n in range(30))
    assert retention.prune_many(store, retention.Keep(rows=60)) == 0
    assert retention.prune_many(store, retention.Keep(rows=33)) == 27
    assert values(store, name="a") == list(range(17, 30)) and values(store, name="b") == list(range(10, 30))
    assert retention.prune_many(store, retention.Keep(rows=30)) == 3, "few enough for one transaction"
    assert values(store, name="a") == list(range(20, 30)) and values(store, name="b") == list(range(10, 30))
    with store.read() as session:
        assert {row.name: row.points for row in telemetry.series(session, "gw-1")} == {"a": 10, "b": 20}


def test_a_count_that_is_too_high_is_mended_and_deletes_nothing(store):
    take(store, [{-2: BASE, 0: "t", 2: number} for number in range(5)])
    with store.write() as session:
        session.execute(sa.update(Series).values(points=50))
    assert retention.prune_many(store, retention.Keep(rows=10)) == 0 and len(values(store)) == 5
    with store.read() as session:
        assert [row.points for row in telemetry.series(session, "gw-1")] == [5]
