"""What a device may throw at the server: each message a count or an alarm, never a crash, and the next one is heard."""

from __future__ import annotations

import json
import sqlite3

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from server_process import eventually

from ota_server.api import serialize
from ota_server.store import Store, devices, migrate
from ota_server.uplink import ingest
from tidegate.wire.cbor import dumps

BASE = "urn:dev:org:tidegate:gw-hostile:"
NONCE = b"\0" * 8
REPORT = {2: NONCE, 4: True, -257: [0, 0], -258: 1, -259: 1}
BIRTH = {1: 1, 2: "unix", 3: "p", 4: "1", 5: 1, 6: b"\0" * 32, 7: NONCE, 8: "soft", 9: False, 10: "1.25", 11: 1}
BAD = [
    ("birth", b""),
    ("birth", b"\xff"),
    ("birth", dumps({1: 1})),
    ("birth", dumps(BIRTH) + b"\0"),
    ("birth", dumps({**BIRTH, 12: 1})),
    ("birth", dumps({**BIRTH, 5: -1})),
    ("birth", dumps({**BIRTH, 5: 2**64 - 1})),
    ("birth", dumps({**BIRTH, 6: b"short"})),
    ("birth", dumps({**BIRTH, 4: "x" * 5000})),
    ("birth", bytes.fromhex("bf0101ff")),  # indefinite length
    ("birth", b"\x81" * 4000),  # depth
    ("birth", b"\x9b" + b"\xff" * 8),  # an array of 2^64 - 1 items
    ("state", dumps({1: 1})),
    ("state", dumps({1: True, 2: 99})),
    ("state", b"\xa2\x01\xf5\x01\xf5"),  # a key twice
    ("report", dumps({**REPORT, -258: 11})),
    ("report", dumps({**REPORT, -257: [9, 0]})),
    ("report", dumps({**REPORT, -259: 2**64 - 1})),
    ("report", dumps({**REPORT, 4: False})),
    ("report", dumps({**REPORT, -260: "x" * 161})),
    ("result", dumps({1: b"1234567", 2: 0})),
    ("result", dumps({1: NONCE, 2: 3})),
    ("result", dumps({1: NONCE, 2: 0, 3: {1: 2}})),
    ("alarm", dumps({1: "x"})),
    ("alarm", dumps({1: "x", 2: b"y"})),
    ("tele/env", dumps([])),
    ("tele/env", dumps([{}] * 65)),
    ("tele/env", dumps([{-2: "urn:dev:org:tidegate:gw-victim:", 0: "t", 2: 1.0}])),
    ("tele/env", dumps([{0: "t", 2: 1.0}])),
    ("tele/env", dumps([{-2: BASE, 0: "t", 2: "text"}])),
    ("tele/env", dumps([{-2: BASE, 0: "x" * 65, 2: 1.0}])),
    ("tele/env", dumps([{-2: BASE, 0: "t", 2: 1.0, 3: "both"}])),
    ("tele/env", dumps([{-2: BASE, 0: "t", 2: 1.0, "new_": 1}])),
]


@pytest.fixture(scope="module")
def hostile(shared):
    return shared.device("gw-hostile")


@pytest.mark.parametrize(("topic", "payload"), BAD, ids=lambda value: str(value)[:40])
def test_a_bad_message_is_an_alarm_and_changes_nothing_else(shared, hostile, topic, payload):
    def facts() -> dict:
        ignored = ("last_seen", "last_seen_s", "alarms")
        return {name: value for name, value in shared.shown("gw-hostile").items() if name not in ignored}

    before, known = total(shared), facts()
    hostile.say(topic, payload)
    eventually(lambda: total(shared) == before + 1)
    assert facts() == known
    newest = max(shared.shown("gw-hostile")["alarms"], key=lambda alarm: alarm["last_time"])
    assert newest["kind"] == "bad-message" and newest["source"] == "server" and newest["detail"]


def total(shared) -> int:
    return sum(alarm["count"] for alarm in shared.shown("gw-hostile")["alarms"])


def test_repeated_mistakes_are_one_row_with_a_count(shared):
    device = shared.device("gw-stutter")
    for _ in range(30):
        device.say("birth", b"nonsense", qos=0)
    eventually(lambda: [a["count"] for a in shared.shown("gw-stutter")["alarms"]] == [30])


def test_texts_are_shown_as_texts(shared):
    """Control characters and markup: stored as harmless text, served as JSON."""
    device = shared.device("gw-markup")
    evil = "<img src=x onerror=alert(1)>\0\x1b[2J"
    device.say("alarm", {1: "crash", 2: evil, 3: evil})
    device.say("birth", {**BIRTH, 3: "tidegate-gateway", 4: evil[:30], 8: evil[:20]})
    shown = eventually(lambda: (d := shared.shown("gw-markup"))["version"] and d)
    assert "\0" not in str(shown) and "\x1b" not in str(shown)
    assert shown["alarms"][-1]["reason"].startswith("<img src=x")


def test_a_device_that_says_it_is_another_board(shared):
    device = shared.device("gw-mistaken")
    device.born("1.0.0", 1, _2="qemu_mps2")
    alarm = eventually(lambda: shared.shown("gw-mistaken")["alarms"])[0]
    assert alarm["kind"] == "identity" and "qemu_mps2" in alarm["detail"]


@pytest.fixture
def store(tmp_path) -> Store:
    url = f"sqlite:///{tmp_path / 'tidegate.db'}"
    migrate(url)
    return Store(url)


def counted(store: Store) -> dict[str, int]:
    from ota_server.store import alarms

    with store.read() as session:
        return alarms.counters(session)


def test_unknown_devices_and_topics_are_counted_and_dropped(store, tmp_path):
    """An outside broker may let in what ours does not."""
    for topic in ("tg/ghost/up/birth", "tg/ghost/up/tele/x", "tg/ghost/up/state"):
        ingest.take(store, ingest.Message(topic, dumps({1: True}), False))
    odd = (
        "",
        "tg",
        "tg/A/up/birth",
        "tg/x/up/other",
        "tg/x/up/birth/y",
        "tg/x/up/tele",
        "tg/x/up/tele/a/b",
        "tg/x/down/cmd",
        "tg/x/up/birth\n",
    )
    for topic in odd:
        ingest.take(store, ingest.Message(topic, b"", False))
    assert counted(store) == {"messages of unknown devices": 3, "messages on unknown topics": len(odd)}
    with sqlite3.connect(tmp_path / "tidegate.db") as db:
        assert db.execute("SELECT count(*) FROM alarm").fetchone() == (0,)


def add_device(store: Store, device_id: str) -> None:
    from ota_server.store.models import Device

    with store.write() as session:
        session.add(Device(id=device_id, board="unix", product="p", password_hash="x"))


GOOD = {
    "birth": BIRTH,
    "state": {1: True, 2: 1, 3: 0},
    "report": {**REPORT, 4: {5: 33, 7: 11}, 99: [[-16, b"\0" * 32]], -260: "why", -261: [1, 2]},
    "result": {1: NONCE, 2: 0, 3: {"a": [1, 2.5, None, {"b": b"c"}]}, 4: "why"},
    "alarm": {1: "crash", 2: "x", 3: "detail", 4: NONCE, 5: 3},
    "tele/env": [{-2: BASE, -3: 100.5, -4: "V", -5: 1, 0: "a", 2: 1.5}, {0: "b", 3: "text"}, {0: "c", 4: True, 6: -3}],
}
leaves = (st.none() | st.booleans() | st.integers(-(2**64), 2**64 - 1)) | (
    st.floats() | st.text(max_size=20) | st.binary(max_size=40)
)
labels = st.integers(-300, 300) | st.text(max_size=4)
values = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(labels, inner, max_size=4), max_leaves=8
)


@st.composite
def messages(draw):
    """A kind of message, and bytes: a valid one with a member replaced, any CBOR, damaged CBOR, or noise."""
    kind = draw(st.sampled_from(sorted(GOOD)))
    body = GOOD[kind]
    how = draw(st.sampled_from(("member", "any", "flip", "cut", "noise")))
    if how == "noise":
        return kind, draw(st.binary(max_size=200))
    if how == "any":
        return kind, dumps(draw(values))
    if how == "member":
        record = draw(st.sampled_from(body)) if isinstance(body, list) else body
        changed = {**record, draw(st.sampled_from(sorted(record))): draw(values)}
        return kind, dumps([changed] if isinstance(body, list) else changed)
    data = bytearray(dumps(body))
    if how == "cut":
        return kind, bytes(data[: draw(st.integers(0, len(data)))])
    data[draw(st.integers(0, len(data) - 1))] ^= 1 << draw(st.integers(0, 7))
    return kind, bytes(data)


@settings(max_examples=1000, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(message=messages())
def test_no_message_gets_past_its_judge(fuzzed, message):
    kind, payload = message
    ingest.take(fuzzed, ingest.Message(f"tg/gw-hostile/up/{kind}", payload, False))
    with fuzzed.read() as session:
        shown = json.dumps(
            [serialize.device(devices.get(session, "gw-hostile")), serialize.latest(session, "gw-hostile")]
        )
    assert "NaN" not in shown and "Infinity" not in shown


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory) -> Store:
    url = f"sqlite:///{tmp_path_factory.mktemp('fuzz') / 'tidegate.db'}"
    migrate(url)
    store = Store(url)
    add_device(store, "gw-hostile")
    return store


def test_measurements_that_cannot_be_kept_or_lie_about_time(store):
    from ota_server.store import now_ms, telemetry

    add_device(store, "gw-hostile")
    pack = [
        {-2: BASE, 0: "nan", 2: float("nan")},
        {0: "huge", 2: 2**63},
        {0: "future", 2: 1, 6: 2**40},
        {0: "past", 2: 1, 6: -(2**40)},
        {0: "text", 3: "a\0b"},
        {0: "flag", 4: True},
        {0: "data", 8: b"\xff"},
        {0: "late", 2: 5, 6: -60},
    ]
    ingest.take(store, ingest.Message("tg/gw-hostile/up/tele/env", dumps(pack), False))
    with store.read() as session:
        values = {row.name: row for row in telemetry.latest(session, "gw-hostile")}
    assert set(values) == {"huge", "future", "past", "text", "flag", "data", "late"}
    assert values["text"].text == "a\ufffdb" and values["flag"].number == 1 and values["data"].text == "ff"
    assert all(abs(values[name].at - now_ms()) < 60_000 for name in ("future", "past", "text"))
    assert 60_000 <= now_ms() - values["late"].at < 120_000


def test_retained_messages_do_not_make_a_device_seen(store):
    add_device(store, "gw-1")
    ingest.take(store, ingest.Message("tg/gw-1/up/birth", dumps({**BIRTH, 3: "p"}), True))
    with store.read() as session:
        row = devices.get(session, "gw-1")
    assert row.version == "1" and row.last_seen_at is None and not row.online


def test_tables_stay_bounded(store, monkeypatch):
    from ota_server.store import retention
    from ota_server.store.models import Alarm, Report

    monkeypatch.setattr(retention, "KEEP_ALARMS", 10)
    monkeypatch.setattr(retention, "KEEP_REPORTS", 20)
    add_device(store, "gw-1")
    with store.write() as session:
        session.add_all(Alarm(device_id="gw-1", source="device", kind="k", reason=str(i)) for i in range(35))
        session.add_all(Report(device_id="gw-1", sequence=i, phase="offered", body={}) for i in range(15))
    assert retention.prune_rows(store) == 25
    with store.read() as session:
        assert sorted(int(a.reason) for a in session.query(Alarm)) == list(range(25, 35))
        assert session.query(Report).count() == 15
