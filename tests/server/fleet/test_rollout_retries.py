"""What the server shows of devices that failed for a reason that may pass, and what `rollout retry` does."""

from __future__ import annotations

import json
from typing import Any

import signed_releases as releases
from fleet_commands import run
from server_process import ServerProcess, eventually

MISSING = {5: 10, 7: 11}
WATCHDOG = {5: 33, 7: 11}


def status(server: ServerProcess) -> Any:
    return json.loads(run(server, "rollout", "status", "1.1.0", "--json"))


def state(server: ServerProcess, name: str) -> str:
    return server.shown(name)["offer"]["state"]


def test_a_device_that_tries_again_is_not_shown_as_failed(start, ring):
    server = start()
    device = server.device("gw-1")
    device.born("1.0.0", 1)
    server.publish(releases.make(ring.release, "1.1.0", 2))
    device.wait_heard("offer")
    device.report(9, 2, 0, 7, verdict=MISSING, detail="the server has no /p/aa", again=75)
    eventually(lambda: state(server, "gw-1") == "retrying")
    shown = server.shown("gw-1")
    assert (shown["update"]["again_s"], shown["update"]["detail"]) == (75, "the server has no /p/aa")
    told = status(server)
    assert told["counts"]["retrying"] == 1 and told["counts"]["failed"] == 0, "a rollout can count it"
    assert [(one["state"], one["why"], one["again_s"]) for one in told["devices"]] == [
        ("retrying", "the server has no /p/aa", 75)
    ]
    assert "retrying" in run(server, "rollout", "status", "1.1.0") and "/p/aa" in run(server, "device", "show", "gw-1")

    # A trial that ended without a broker; then one that really failed; then a person has it tried again.
    device.report(7, 2, 0, 8, verdict={5: 35, 7: 11}, detail="no connection to the broker within 60 s", again=300)
    eventually(lambda: server.shown("gw-1")["update"]["phase"] == "rolled-back")
    assert state(server, "gw-1") == "retrying"
    device.report(7, 2, 0, 8, verdict=WATCHDOG, detail="watchdog")
    eventually(lambda: state(server, "gw-1") == "failed")
    device.report(1, 2, 1, 0)
    eventually(lambda: state(server, "gw-1") == "offered")
    device.report(9, 2, 0, 7, verdict=MISSING, detail="gone", again=75)
    eventually(lambda: state(server, "gw-1") == "retrying")
    device.born("1.1.0", 2)
    eventually(lambda: state(server, "gw-1") == "running")


def test_retry_offers_it_once_more_where_it_failed(start, ring):
    server = start()
    devices = {name: server.device(name) for name in ("gw-1", "gw-2", "gw-3")}
    for device in devices.values():
        device.born("1.0.0", 1)
    server.publish(releases.make(ring.release, "1.1.0", 2))
    for device in devices.values():
        device.wait_heard("offer")
    assert "No device has failed" in run(server, "rollout", "retry", "1.1.0")
    devices["gw-1"].report(7, 2, 0, 8, verdict=WATCHDOG, detail="watchdog")
    devices["gw-2"].report(9, 2, 0, 7, verdict=MISSING, detail="gone", again=75)
    eventually(lambda: (state(server, "gw-1"), state(server, "gw-2")) == ("failed", "retrying"))
    said = run(server, "rollout", "retry", "1.1.0")
    assert "offered once more to 2: gw-1 gw-2" in said and "--key" in said
    for name in ("gw-1", "gw-2"):
        devices[name].wait_heard("offer", count=2)
    assert devices["gw-3"].heard.count(devices["gw-3"].heard[0]) == 1, "it did not fail"
    assert state(server, "gw-1") == "failed", "until the device says otherwise"
    assert "is not published here" in run(server, "rollout", "retry", "9.9.9", code=1)


def test_a_data_component_that_is_tried_again(start, ring):
    server = start()
    device = server.device("gw-1")
    device.born("1.0.0", 1)
    eventually(lambda: server.shown("gw-1")["version"])
    device.report(9, 4, 0, 5, verdict={5: 11, 7: 10}, detail="wrong bytes", again=60, component="calibration")
    shown = eventually(lambda: server.shown("gw-1")["data"].get("calibration"))
    assert shown["update"]["again_s"] == 60 and shown["update"]["detail"] == "wrong bytes"
