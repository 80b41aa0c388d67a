"""A device's timeline, read from the tables: whole, in order, whatever the clock did; no other rows are read."""

from __future__ import annotations

import random
from collections.abc import Iterator

import large_database
import pytest
import sqlalchemy as sa
from large_database import device_id

from ota_server.security import audit
from ota_server.store import Store, device_events, now_ms, timeline
from ota_server.store.models import Alarm, Command, CommandStep, Device, DeviceEvent, Report
from ota_server.uplink import ingest
from ota_server.uplink.ingest import Message
from tidegate.wire.cbor import dumps

SEED = 20261129
MINE, OTHER = device_id(0), device_id(1)


def happen(session, chance: random.Random, device: str, at: int) -> None:
    """One thing happens to the device."""
    kind = chance.choice(("birth", "report", "alarm", "command", "act"))
    if kind == "birth":
        session.add(DeviceEvent(device_id=device, at=at, kind=chance.choice(timeline.EVENTS), body={}))
    elif kind == "report":
        phase = chance.choice(("fetching", "trial", "confirmed"))
        session.add(Report(device_id=device, at=at, sequence=1, phase=phase, body={"phase": phase}))
    elif kind == "alarm":
        what = chance.choice(("crash", "offer-refused"))
        session.add(Alarm(device_id=device, source="device", at=at, kind=what, reason="x"))
    elif kind == "command":
        opcode = chance.choice(("info", "config.set"))
        row = Command(device_id=device, cti=f"{chance.getrandbits(64):016x}", kid="k", opcode=opcode, expires_at=at)
        session.add(row)
        session.flush()
        for state in ("pending", "verified"):
            session.add(CommandStep(command_id=row.id, at=at, state=state, by="x"))
    else:
        audit.record(session, "token", chance.choice(("device.move", "device.rename", "group.set")), device)
    session.flush()


@pytest.fixture
def filled(empty) -> Iterator[Store]:
    """300 things that happened to two devices, by a clock that was set back in between."""
    store = large_database.fill(empty, devices=2, series=0)
    chance, now = random.Random(SEED), now_ms()
    with store.write() as session:
        for number in range(300):
            at = now - 5_000_000 + number * 1000 - (2_000_000 if number > 150 else 0)
            happen(session, chance, chance.choice((MINE, OTHER)), at)
    yield store
    store.close()


def names(entries) -> list[str]:
    return [f"{entry.source}{entry.row.id}" for entry in entries]


def forward(session, kinds, limit: int) -> list[str]:
    found: list[str] = []
    place: dict[str, int] = {}
    while (feed := timeline.after(session, MINE, kinds, limit, place)).entries:
        assert len(feed.entries) <= limit
        assert all(feed.since[name] >= place.get(name, 0) for name in timeline.SOURCES), "it only goes forward"
        found, place = found + names(feed.entries), dict(feed.since)
    return found


def backward(session, kinds, limit: int) -> list[str]:
    feed = timeline.newest(session, MINE, kinds, limit)
    found = names(feed.entries)
    while feed.before is not None:
        feed = timeline.newest(session, MINE, kinds, limit, feed.before)
        assert 0 < len(feed.entries) <= limit
        found += names(feed.entries)
    return found


def everything(session) -> set[str]:
    of = {"e": DeviceEvent, "r": Report, "a": Alarm}
    found = {
        f"{name}{row}"
        for name, table in of.items()
        for row in session.scalars(sa.select(table.id).where(table.device_id == MINE))
    }
    steps = sa.select(CommandStep.id).join(Command).where(Command.device_id == MINE)
    acts = sa.text(f"SELECT id FROM audit WHERE subject = '{MINE}' AND action != 'group.set'")
    return found | {f"c{row}" for row in session.scalars(steps)} | {f"u{row}" for row in session.scalars(acts)}


def test_pages_of_any_size_have_everything_once(filled):
    with filled.read() as session:
        expected = everything(session)
        assert len(expected) > 100
        for limit in (1, 7, 500):
            for found in (forward(session, timeline.KINDS, limit), backward(session, timeline.KINDS, limit)):
                assert len(found) == len(expected) and set(found) == expected
        parts = [set(forward(session, [kind], 9)) for kind in timeline.KINDS]
        assert set().union(*parts) == expected and sum(map(len, parts)) == len(expected), "each is of one kind"


def test_who_goes_on_from_a_page_gets_what_came_since(filled):
    with filled.write() as session:
        first = timeline.newest(session, MINE, timeline.KINDS, 3)
        assert timeline.after(session, MINE, timeline.KINDS, 10, first.since).entries == []
        long_ago = now_ms() - 9_000_000  # the clock is set back: it is new all the same
        session.add(Report(device_id=MINE, at=long_ago, sequence=2, phase="trial", body={}))
        session.add(Report(device_id=OTHER, at=long_ago, sequence=2, phase="trial", body={}))
        session.flush()
        (entry,) = timeline.after(session, MINE, timeline.KINDS, 10, first.since).entries
        assert (entry.kind, entry.at) == ("trial", long_ago)


def test_postgresql_shows_nothing_before_it_has_settled(filled):
    with filled.write() as session:
        place = timeline.newest(session, MINE, timeline.KINDS, 1).since
        timeline_settles = now_ms() + timeline.SETTLE_MS // 2
        for kind, at in (("offer", timeline_settles), ("silence", now_ms() - 60_000)):
            session.add(DeviceEvent(device_id=MINE, at=at, kind=kind, body={"new": True}))
            session.flush()
        seen = [entry.kind for entry in timeline.after(session, MINE, timeline.KINDS, 5, place).entries]
        head = timeline.newest(session, MINE, ["silence"], 1).entries[0].row.body
        assert seen == ([] if filled.on_postgresql else ["offer", "silence"])
        assert head == {"new": True}


def test_no_table_is_read_whole(tmp_path):
    store = large_database.fill(f"sqlite:///{tmp_path}/x.db", devices=1, series=0)
    with store.read() as session:
        for source in timeline._SOURCES:
            statement = source.rows(MINE, timeline.KINDS).where(source.number > 5).order_by(source.number).limit(10)
            words = str(statement.compile(session.get_bind(), compile_kwargs={"literal_binds": True}))
            plan = [row[3] for row in session.execute(sa.text(f"EXPLAIN QUERY PLAN {words}"))]
            assert not [step for step in plan if step.startswith("SCAN")], plan
            assert any("device" in step or "audit_subject" in step for step in plan), plan
    store.close()


def test_a_boot_and_the_silence_before_it_are_noted_once(empty):
    store = large_database.fill(empty, devices=2, series=0, last_seen_at=now_ms() - 2 * device_events.SILENCE_MS)
    birth = {1: 1, 2: "unix", 3: "tidegate-gateway", 4: "1.2.0", 5: 7, 6: bytes(32), 7: b"nonce..1"}
    pack = {-2: f"urn:dev:org:tidegate:{OTHER}:", 0: "t", 2: 1}
    birth |= {8: "watchdog", 9: True, 10: "1.25", 11: 0}
    for _ in range(2):
        ingest.take_all(
            store,
            [
                Message(f"tg/{MINE}/up/state", dumps({1: True}), False),
                Message(f"tg/{MINE}/up/birth", dumps(birth), False),
                Message(f"tg/{OTHER}/up/tele/env", dumps([pack]), False),
            ],
        )
    with store.read() as session:
        rows = session.scalars(sa.select(DeviceEvent).order_by(DeviceEvent.id)).all()
        silent = [row for row in rows if row.kind == "silence"]
        assert sorted(row.device_id for row in silent) == [MINE, OTHER]
        assert all(1200 <= row.body["seconds"] < 1800 for row in silent)
        (born,) = [row for row in rows if row.kind == "birth"]
        assert (born.body["version"], born.body["reset_cause"], born.body["trial"]) == ("1.2.0", "watchdog", True)
        assert session.get(Device, OTHER).last_seen_at > now_ms() - 60_000
    store.close()
