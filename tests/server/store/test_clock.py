"""Which time the server believes, with a clock that a test sets; and a real server whose clock jumps."""

from __future__ import annotations

import json
import time

import programs
import pytest
from device_commands import send, signed
from mqtt_device import dumps
from server_process import eventually

from ota_server.store import Store, clock_record, migrate
from ota_server.store.clock import HOLD_MS, MAX_AWAY_MS, SETTLE_MS, TOLERANCE_MS, Clock, Reading
from ota_server.store.models import ClockSeen

NOW = 1_800_000_000_000
MINUTE, DAY = 60_000, 86_400_000


class SetClock:
    def __init__(self, wall: int = NOW, up: int = 5_000_000) -> None:
        self.wall, self.up = wall, up

    def __call__(self) -> Reading:
        return Reading(self.wall, self.up)

    def passes(self, ms: int) -> None:
        self.wall += ms
        self.up += ms


@pytest.fixture
def reading() -> SetClock:
    return SetClock()


def test_time_that_passes_is_trusted_and_so_are_small_steps_and_drift(reading):
    clock = Clock(reading)
    for step in (0, TOLERANCE_MS // 2, -TOLERANCE_MS // 2, 1000, -1000):
        reading.wall += step
        for _ in range(3):
            reading.passes(10 * MINUTE)
            reading.wall += 300  # 500 ppm
            assert clock.now_ms() == reading.wall and clock.is_trusted() and clock.doubt() is None


@pytest.mark.parametrize("days", [100, -400, 20_000])
def test_a_jump_is_not_followed_and_its_end_leaves_nothing(reading, days):
    clock = Clock(reading)
    reading.wall += days * DAY
    assert clock.now_ms() == NOW and not clock.is_trusted()
    reading.passes(40_000)
    assert clock.now_ms() == NOW + 40_000 and not clock.is_trusted()
    assert clock.doubt().startswith(f"the clock jumped {abs(days)} days {'ahead' if days > 0 else 'back'}, to 2")
    assert clock.trusted() == Reading(NOW, 5_000_000)
    reading.wall -= days * DAY
    assert clock.now_ms() == reading.wall and clock.is_trusted() and clock.doubt() is None


def test_a_clock_that_runs_evenly_is_followed_and_trusted_a_day_later(reading):
    clock = Clock(reading)
    reading.wall += 100 * DAY
    clock.now_ms()
    reading.passes(SETTLE_MS)
    assert clock.now_ms() == reading.wall and not clock.is_trusted()
    reading.wall -= 100 * DAY
    assert clock.now_ms() == reading.wall and clock.is_trusted(), "where it should be, however long it was not"
    reading.wall += 100 * DAY
    clock.now_ms()
    reading.passes(HOLD_MS - 1)
    assert not clock.is_trusted()
    reading.passes(1)
    assert clock.is_trusted() and clock.now_ms() == reading.wall


def test_a_clock_that_wanders_is_never_trusted(reading):
    clock = Clock(reading)
    for _ in range(400):
        reading.wall += DAY
        reading.passes(SETTLE_MS // 2)
        assert not clock.is_trusted() and clock.now_ms() == NOW + reading.up - 5_000_000


def test_a_person_decides(reading):
    clock = Clock(reading)
    reading.wall += 100 * DAY
    assert not clock.is_trusted()
    clock.accept()
    assert clock.is_trusted() and clock.now_ms() == reading.wall


def test_a_clock_that_was_never_set_may_be_set_to_anything():
    reading = SetClock(wall=86_400_000)
    clock = Clock(reading)
    reading.wall = NOW
    assert clock.now_ms() == NOW and clock.is_trusted()


def restarted(store: Store, reading: SetClock) -> Clock:
    clock = Clock(reading)
    with store.read() as session:
        clock_record.begin(session, clock)
    return clock


@pytest.fixture
def store(tmp_path, reading):
    migrate(f"sqlite:///{tmp_path}/x.db")
    store = Store(f"sqlite:///{tmp_path}/x.db")
    with store.write() as session:
        clock_record.note(session, Clock(reading))
    yield store
    store.close()


def test_a_server_that_starts_again_knows_what_it_saw(store, reading):
    reading.passes(3 * DAY)
    assert restarted(store, reading).is_trusted()
    reading.wall += 100 * DAY
    clock = restarted(store, reading)
    assert not clock.is_trusted() and clock.now_ms() == NOW + 3 * DAY


def test_after_a_boot_some_days_are_believed_and_may_come_late(store, reading, monkeypatch):
    monkeypatch.setattr(clock_record, "boot_id", lambda: "another boot")
    reading.up = 20_000
    clock = restarted(store, reading)  # it begins where it ended, as machines without a battery do
    assert clock.now_ms() == NOW and not clock.is_trusted(), "it may still be set"
    reading.passes(MINUTE)
    reading.wall += MAX_AWAY_MS - DAY
    assert clock.now_ms() == reading.wall and clock.doubt() is None
    reading.passes(SETTLE_MS)
    assert clock.is_trusted()
    with store.write() as session:
        clock_record.note(session, clock)
    reading.passes(MINUTE)
    assert restarted(store, reading).is_trusted()
    with store.read() as session:
        assert session.query(ClockSeen).count() == 2


def test_after_a_boot_in_the_past_time_goes_on_from_what_was_seen(store, reading, monkeypatch):
    monkeypatch.setattr(clock_record, "boot_id", lambda: "another boot")
    reading.up, reading.wall = 20_000, NOW - 400 * DAY
    clock = restarted(store, reading)
    assert clock.now_ms() == NOW and not clock.is_trusted()
    reading.passes(MINUTE)
    reading.wall = NOW + DAY  # the network has said what time it is
    assert clock.now_ms() == reading.wall and clock.doubt() is None


def test_after_a_boot_far_ahead_the_clock_is_followed_and_deletes_nothing(store, reading, monkeypatch):
    monkeypatch.setattr(clock_record, "boot_id", lambda: "another boot")
    reading.up, reading.wall = 20_000, NOW + 100 * DAY
    clock = restarted(store, reading)
    assert clock.now_ms() == reading.wall and not clock.is_trusted()
    reading.passes(SETTLE_MS + 1)
    assert clock.now_ms() == reading.wall and not clock.is_trusted(), "not before a day has passed"
    reading.wall -= 98 * DAY
    assert clock.now_ms() == reading.wall and clock.doubt() is None, "where it may be"
    assert clock.is_trusted()


def test_what_a_person_said_holds_for_that_clock_and_once(store, reading):
    reading.wall += 100 * DAY
    with store.write() as session:
        assert not clock_record.said_right(session, reading())
        clock_record.say_right(session, reading())
        reading.passes(HOLD_MS)
        assert clock_record.said_right(session, reading())
        reading.wall += DAY
        assert not clock_record.said_right(session, reading()), "it is another one now"
        reading.wall -= DAY
        clock_record.forget_said(session)
        assert not clock_record.said_right(session, reading())


# ---------------------------------------------------------------- a real server


@pytest.mark.skipif(programs.find("libfaketime.so.1") is None, reason="Debian: apt-get install libfaketime")
def test_a_server_whose_clock_jumps_deletes_expires_and_misdates_nothing(start, ring, tmp_path):
    offset = tmp_path / "offset"
    offset.write_text("+0\n")
    library = str(programs.require("libfaketime.so.1"))
    fake = {"LD_PRELOAD": library, "FAKETIME_TIMESTAMP_FILE": str(offset), "FAKETIME_NO_CACHE": "1"}
    fake |= {"FAKETIME_DONT_FAKE_MONOTONIC": "1", "DONT_FAKE_MONOTONIC": "1"}
    server = start("--keep-days", "0.5", env=fake)
    server.http.headers["Connection"] = "close"  # of a connection that stays open, a jump makes an idle one
    server.register("gw-2")
    assert send(server, "gw-2", signed(ring, "gw-2", 1)).status_code == 202
    device, base = server.device("gw-1"), "urn:dev:org:tidegate:gw-1:"
    for number in range(20):
        device.say("tele/env", dumps([{-2: base, -257: number, -3: time.time() - 20 + number, 0: "t", 2: number}]))
    eventually(lambda: _last(server)["points"] == 20)
    for days, number in ((100, 21), (-400, 22)):
        offset.write_text(f"{days:+}d\n")
        eventually(lambda: _alarms(server))
        device.say("tele/env", dumps([{-2: base, -257: number, 0: "t", 2: number}]))
        eventually(lambda: _last(server)["value"] == number)  # noqa: B023
        doubt = json.loads(server.cli("clock", "--json").stdout)
        assert doubt["trusted"], "that of this machine, which runs as it always did"
        offset.write_text("+0\n")
    device.say("tele/env", dumps([{-2: base, -257: 23, 0: "t", 2: 23}]))
    eventually(lambda: _last(server)["value"] == 23)
    assert _last(server)["points"] == 23, "nothing is deleted"
    times = [row["at"] for row in server.api("GET", "/devices/gw-1/telemetry")["telemetry"]]
    assert {at[:4] for at in times} == {time.strftime("%Y", time.gmtime())} and times == sorted(times, reverse=True)
    command = server.api("GET", "/commands", params={"device": "gw-2"})["commands"][0]
    assert command["state"] == "verified"
    assert -1 < server.shown("gw-1")["last_seen_s"] < 60
    assert "the clock jumped" in server.log.read_text() and "where it should be again" in server.log.read_text()


def _last(server):
    return (server.api("GET", "/devices/gw-1/telemetry/last")["last"] or [{"points": 0, "value": None}])[0]


def _alarms(server):
    return [alarm for alarm in server.api("GET", "/alarms")["alarms"] if alarm["kind"] == "clock"]
