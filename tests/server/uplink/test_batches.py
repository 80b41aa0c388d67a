"""Messages that are filed together, and those that come again."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from databases import postgresql
from sqlalchemy import func, select, update

from ota_server.store import Store, alarms, migrate, telemetry
from ota_server.store.models import Alarm, Device, Report
from ota_server.uplink import ingest
from ota_server.uplink.ingest import Message
from tidegate.wire.cbor import dumps

BIRTH = {
    1: 1,
    2: "unix",
    3: "p",
    4: "1.0.0",
    5: 1,
    6: bytes(32),
    7: b"nonce..1",
    8: "power",
    9: False,
    10: "1.25",
    11: 0,
}


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def store(request, tmp_path) -> Iterator[Store]:
    if request.param == "postgresql":
        with postgresql() as url:
            yield from _opened(url)
    else:
        yield from _opened(f"sqlite:///{tmp_path}/x.db")


def _opened(url: str) -> Iterator[Store]:
    migrate(url)
    store = Store(url)
    with store.write() as session:
        session.add_all(Device(id=f"gw-{n}", board="unix", product="p", password_hash="x") for n in range(600))
    yield store
    store.close()


def message(path: str, said: object, *, device: str = "gw-1", retained: bool = False, again: bool = False) -> Message:
    return Message(f"tg/{device}/up/{path}", dumps(said), retained, again=again)


def report(phase: int, nonce: bytes = b"nonce..1") -> dict:
    return {2: nonce, 4: True, -257: [1, 0], -258: phase, -259: 2}


def pack(number: int, device: str = "gw-1") -> list:
    return [{-2: f"urn:dev:org:tidegate:{device}:", 0: "n", 2: number, -257: number}]


def test_all_kinds_in_one_batch_in_order_and_what_is_bad_alone(store):
    sent = [
        message("state", {1: True}),
        message("birth", BIRTH),
        message("tele/env", pack(1)),
        message("report", report(2)),
        Message("tg/gw-1/up/tele/env", b"\xff", False),
        message("report", report(3)),
        message("tele/env", pack(2)),
        message("tele/env", pack(1)),
        message("alarm", {1: "crash", 2: "boom"}),
        message("state", {1: True}, device="nobody"),
        Message("tg/gw-1/up/odd", b"", False),
        message("state", {1: False}),
    ]
    refused = ingest.take_all(store, sent)
    assert [one and one.reason for one in refused] == [None] * 4 + ["malformed"] + [None] * 4 + [
        "device",
        "topic",
        None,
    ]
    with store.read() as session:
        device = session.get(Device, "gw-1")
        assert (device.online, device.version, device.update["phase"]) == (False, "1.0.0", "applying")
        assert [row.phase for row in session.scalars(select(Report).order_by(Report.id))] == ["fetching", "applying"]
        assert [point.number for point, _ in telemetry.arrived(session, "gw-1", telemetry.Query(), 10, 0)] == [1, 2]
        (stream,) = telemetry.streams(session, "gw-1")
        assert (stream.packs, stream.repeated) == (2, 1)
        assert [(row.kind, row.count) for row in alarms.listed(session, 10)] == [("bad-message", 1), ("crash", 1)][::-1]
        assert alarms.counters(session) == {"messages of unknown devices": 1, "messages on unknown topics": 1}


@pytest.mark.parametrize("together", [True, False])
def test_a_report_or_alarm_that_is_sent_again_is_filed_once(store, together):
    cycle = [message("report", report(2)), message("report", report(3)), message("alarm", {1: "crash", 2: "boom"})]
    repeated = [*cycle, *cycle, *(one._replace(again=True) for one in cycle)]
    for batch in [repeated] if together else [[one] for one in repeated]:
        assert not any(ingest.take_all(store, batch))
    with store.read() as session:
        phases = [row.phase for row in session.scalars(select(Report).order_by(Report.id))]
        assert phases == ["fetching", "applying"] * 2, "what a device does twice is two reports"
        assert len(alarms.listed(session, 10)) == 2
    assert ingest.take(store, message("report", report(2, b"nonce..2"), again=True)) is None
    with store.read() as session:
        assert session.scalar(select(func.count(Report.id))) == 5, "of another boot, and not filed before"


@pytest.mark.parametrize("together", [True, False])
def test_what_a_board_had_stored_over_a_reset_is_filed_once(store, together):
    """A board stores what it did not hear acknowledged, and says it once more in its next boot, in a new session."""
    of_the_boot_before = [message("report", report(phase)) for phase in (2, 3, 4)]
    arrived, lost = of_the_boot_before[:2], of_the_boot_before[2]
    now = [message("report", report(phase, b"nonce..2")) for phase in (5, 6)]
    sent = [
        message("birth", BIRTH),
        *arrived,
        message("birth", {**BIRTH, 7: b"nonce..2"}),
        *arrived,
        lost,
        *now,
        now[1],  # the connection broke before its acknowledgement came
        *arrived,
    ]
    for batch in [sent] if together else [[one] for one in sent]:
        assert not any(ingest.take_all(store, batch))
    with store.read() as session:
        phases = [row.phase for row in session.scalars(select(Report).order_by(Report.id))]
        assert phases == ["fetching", "applying", "installed", "trial", "confirmed"]
        assert session.get(Device, "gw-1").update["phase"] == "confirmed", "what comes again says nothing of now"
        assert alarms.counters(session) == {"reports that came again": 4}


def test_an_alarm_that_a_board_had_stored_over_a_reset_is_filed_once(store):
    """An alarm has no boot in it: what equals the last one of the boot before is that one, but for crashes."""
    dropped, crash = (
        message("alarm", {1: "telemetry-dropped", 2: "ring-full"}),
        message("alarm", {1: "crash", 2: "boom"}),
    )

    def boot(number: int, *said: Message) -> None:
        with store.write() as session:  # whatever was, was a while ago
            session.execute(update(Alarm).values(at=Alarm.at - 5000, last_at=Alarm.last_at - 5000))
        assert not any(ingest.take_all(store, [message("birth", {**BIRTH, 7: b"nonce..%d" % number}), *said]))

    boot(1, dropped)
    boot(2, dropped)
    boot(3, crash)
    boot(4, crash, dropped)
    boot(5, dropped, dropped)
    with store.read() as session:
        rows = session.scalars(select(Alarm).order_by(Alarm.id)).all()
        assert [row.kind for row in rows] == ["telemetry-dropped", "crash", "crash", "telemetry-dropped"] + [
            "telemetry-dropped"
        ], "what a boot says twice is two"
        assert alarms.counters(session) == {"alarms that came again": 2}
        assert rows[3].last_at > rows[3].at + 4000, "and when it was said last is noted"


@pytest.mark.parametrize("together", [True, False])
def test_a_crash_is_filed_once_a_boot(store, together):
    """It is told once, by the boot after it; what comes again, not only as the last alarm, came again."""
    boom, bang = (message("alarm", {1: "crash", 2: word}) for word in ("boom", "bang"))
    births = [message("birth", {**BIRTH, 7: b"nonce..%d" % number}) for number in (1, 2)]
    sent = [births[0], boom, bang, boom, bang, births[1], boom, boom]
    for batch in [sent] if together else [[one] for one in sent]:
        assert not any(ingest.take_all(store, batch))
        time.sleep(0.002)  # two births in one millisecond would be one to the database
    with store.read() as session:
        rows = session.scalars(select(Alarm).order_by(Alarm.id)).all()
        assert [row.reason for row in rows] == ["boom", "bang", "boom"]
        assert alarms.counters(session) == {"alarms that came again": 3}


def test_an_alarm_about_a_command_is_filed_once(store):
    refused = [message("alarm", {1: "command-refused", 2: "expired", 4: bytes([number]) * 8}) for number in (1, 2)]
    for batch in (refused, refused[::-1]):
        assert not any(ingest.take_all(store, batch))
    with store.read() as session:
        assert len(alarms.listed(session, 10)) == 2


def test_the_first_one_may_come_again_before_the_birth(store):
    sent = [
        message("birth", BIRTH),
        message("report", report(2)),
        message("report", report(2)),
        message("report", report(3)),
    ]
    assert not any(one for part in sent for one in ingest.take_all(store, [part]))
    with store.read() as session:
        assert [row.phase for row in session.scalars(select(Report).order_by(Report.id))] == ["fetching", "applying"]


def test_a_batch_of_many_devices_and_what_is_retained_changes_nothing(store):
    names = [f"gw-{n}" for n in range(500)]
    births = [message("birth", BIRTH, device=name) for name in names]
    states = [message("state", {1: True}, device=name) for name in names]
    assert not any(ingest.take_all(store, [*births, *states]))
    with store.write() as session:
        assert session.scalar(select(func.count(Device.id)).where(Device.online, Device.version == "1.0.0")) == 500
        session.get(Device, "gw-7").version = "from a report since"
    before = writes(store)
    assert not any(ingest.take_all(store, [one._replace(retained=True) for one in births if "gw-7/" not in one.topic]))
    assert writes(store) == before
    assert ingest.take(store, message("birth", BIRTH, device="gw-7", retained=True)) is None
    with store.read() as session:
        assert session.get(Device, "gw-7").version == "1.0.0", "what it does not know it takes"


def writes(store: Store) -> list:
    """What changes with every change of a device's row."""
    with store.read() as session:
        rows = select(Device.id, Device.version, Device.birth_at, Device.last_seen_at, Device.online, Device.offer_id)
        return sorted(map(tuple, session.execute(rows)))


def test_packs_of_one_batch_fill_new_and_old_streams(store):
    names = [f"gw-{n}" for n in range(300)]
    for number in (1, 2):
        sent = [message("tele/env", pack(number, name), device=name) for name in names]
        sent += [message(f"tele/s{number}", pack(number, "gw-1"))]
        assert not any(ingest.take_all(store, sent))
    with store.read() as session:
        for name in ("gw-0", "gw-299"):
            (series,) = telemetry.series(session, name)
            assert (series.points, series.number) == (2, 2.0)
        assert [stream.packs for stream in telemetry.streams(session, "gw-1")] == [2, 1, 1]
