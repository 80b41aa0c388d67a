"""A device's timeline as people and programs see it: by the API and by `tidegate device timeline`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest
import signed_releases
from device_commands import send, signed
from patience import limit
from server_process import ServerProcess, eventually

from ota_server.store import Store
from ota_server.store.models import Device

TRACE = 'Traceback (most recent call last):\n  File "/rom/app/valve.py", line 7\nOSError: 19'


def timeline(server: ServerProcess, device: str = "t-line", **params: object) -> dict:
    return server.api("GET", f"/devices/{device}/timeline", params=params)


def texts(answer: dict) -> list[tuple[str, str]]:
    return [(entry["kind"], entry["text"]) for entry in answer["timeline"]]


@pytest.fixture(scope="module")
def lived(shared, ring):
    """A device of which everything happened."""
    device = shared.device("t-line")
    device.born("1.0.0", 1)
    device.report(2, 2, 1, 0, progress=[512, 2048])
    device.report(5, 2, 3, 0)
    device.say("alarm", {1: "crash", 2: "OSError", 3: "ENODEV", 6: TRACE})
    device.say("alarm", {1: "offer-refused", 2: "older", 3: "6 is not above 7"})
    send(shared, "t-line", signed(ring, "t-line", 1, "config.set"))
    device.wait_heard("cmd")
    eventually(lambda: "config.set uplinked" in str(timeline(shared)))  # an answer that overtakes this step ends it
    device.say("result", {1: (1).to_bytes(8, "big"), 2: 0, 3: {"settings": {}, "digest": "00"}})
    eventually(lambda: "settings" in [entry["kind"] for entry in timeline(shared, kind="settings")["timeline"]])
    group = {"seen": None, "groups": {"t-lines": {}}, "devices": {"t-line": "t-lines"}}
    shared.api("POST", "/groups", json=group)
    shared.api("PATCH", "/devices/t-line", json={"name": "T.Line"})
    shared.api("POST", "/devices/t-line/labels", json={"labels": {"site": "vienna"}})
    eventually(lambda: {"birth", "trial", "alarm"} <= {entry["kind"] for entry in timeline(shared)["timeline"]})
    eventually(lambda: "config.set confirmed" in str(timeline(shared)))
    return shared


def test_it_has_everything_in_words(lived):
    answer = timeline(lived, device="T.Line", limit=500)
    assert (answer["id"], answer["name"], answer["silent_since"], answer["before"]) == ("t-line", "T.Line", None, None)
    found = texts(answer)
    for kind, text in (
        ("birth", "started 1.0.0 #1 after power-on, MicroPython "),
        ("report", "#2 fetching, 25 %"),
        ("trial", "#2 trial"),
        ("crash", "crash: OSError: ENODEV"),
        ("alarm", "offer-refused: older: 6 is not above 7"),
        ("settings", "config.set uplinked: taken by the broker"),
        ("group", "moved from group default to t-lines, by "),
        ("name", "named T.Line, by "),
        ("label", "labelled site=vienna, by "),
        ("enrolment", "registered, by "),
    ):
        assert [one for one in found if one[0] == kind and one[1].startswith(text)], (kind, text, found)
    (crash,) = [entry for entry in answer["timeline"] if entry["kind"] == "crash"]
    assert crash["body"]["trace"] == TRACE
    steps = [entry["body"] for entry in answer["timeline"] if entry["kind"] == "settings"]
    assert steps[0]["state"] == "confirmed" and steps[0]["outcome"] == "done"
    assert [step["state"] for step in steps][::-1][:2] == ["pending", "verified"]


def test_an_offer_that_goes_out_is_in_it_and_one_that_is_taken_back(lived, ring):
    product = "t-line-product"
    device = lived.device("t-offered", lived.register("t-offered", product=product))
    device.born(_3=product)
    assert lived.publish(signed_releases.make(ring.release, "1.1.0", 4, product=product)).status_code == 201
    eventually(lambda: ("offer", "offered 1.1.0 #4") in texts(timeline(lived, "t-offered")))
    lived.api("POST", "/devices/t-offered/revoke")
    found = eventually(lambda: texts(timeline(lived, "t-offered", kind="offer"))[:-1])
    assert found == [("offer", "offer of a release taken back")]


def test_pages_kinds_and_places(lived):
    whole = texts(timeline(lived, limit=500))
    paged, answer = [], timeline(lived, limit=4)
    place = answer["since"]
    while True:
        paged += texts(answer)
        if answer["before"] is None:
            break
        answer = timeline(lived, limit=4, before=answer["before"])
        assert answer["since"] is None
    assert paged == whole
    assert timeline(lived, since=place)["timeline"] == []
    assert sorted(texts(timeline(lived, since="0", limit=500))) == sorted(whole)
    only = timeline(lived, kind="crash,alarm")
    assert {entry["kind"] for entry in only["timeline"]} == {"crash", "alarm"}


@pytest.mark.parametrize(
    "params",
    [{"since": "x1"}, {"since": "e"}, {"before": "e1.e2.e3.e4.e5.e6"}, {"since": "e1", "before": "e1"}]
    + [{"kind": "crash,"}, {"kind": "weather"}, {"since": "e²"}, {"limit": "-1"}],
)
def test_bad_parameters_are_named(lived, params):
    answer = lived.http.get("/api/v1/devices/t-line/timeline", params=params)
    assert answer.status_code == 400 and next(iter(params)) in answer.text, answer.text


def command(server: ServerProcess, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "ota_server", "device", "timeline", *arguments, "--server", server.url]


def test_the_command_line_shows_it_and_follows(lived):
    env = {**os.environ, "TIDEGATE_TOKEN_FILE": str(lived.data / "admin.token")}
    done = subprocess.run(
        command(lived, "t-line", "--kind", "crash", "--json"),
        capture_output=True,
        text=True,
        env=env,
        timeout=limit(60),
    )
    (entry,) = json.loads(done.stdout)["timeline"]
    assert entry["body"]["trace"] == TRACE
    done = subprocess.run(
        command(lived, "t-line", "--limit", "500"), capture_output=True, text=True, env=env, timeout=limit(60)
    )
    assert "crash: OSError" in done.stdout and "tidegate alarms list --trace" in done.stderr
    following = subprocess.Popen(
        command(lived, "t-line", "-f", "--json", "--limit", "1", "--kind", "alarm"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=env,
    )
    try:
        assert json.loads(following.stdout.readline())["text"].startswith("offer-refused")
        (device,) = [device for device in lived._devices if device.id == "t-line"]
        device.say("alarm", {1: "test", 2: "followed"})
        assert json.loads(following.stdout.readline())["text"] == "test: followed"
    finally:
        following.send_signal(signal.SIGINT)
        assert following.wait(limit(30)) == 0
        following.stdout.close()
        following.stderr.close()


def test_it_says_since_when_nothing_was_heard(lived):
    lived.register("t-silent")
    assert timeline(lived, "t-silent")["silent_since"] is None, "it was never heard"
    store = Store(f"sqlite:///{lived.data}/tidegate.db")
    with store.write() as session:
        session.get(Device, "t-silent").last_seen_at = 1_700_000_000_000
    store.close()
    assert timeline(lived, "t-silent")["silent_since"] == "2023-11-14T22:13:20.000Z"


def test_a_device_that_waits_for_its_application_says_since_when_and_until_when(shared):
    device = shared.device("t-waits")
    device.born("1.0.0", 1)
    device.report(3, 2, 2, 0, detail="waiting for the application", again=43200)
    eventually(lambda: (shared.shown("t-waits")["update"] or {}).get("phase") == "waiting")
    update = shared.shown("t-waits")["update"]
    assert update["until"] - update["at"] == 43_200_000 and update["again_s"] is None
    said = "#2 waiting: waiting for the application, for 12 h at the latest"
    assert ("report", said) in texts(timeline(shared, "t-waits"))
    device.report(3, 3, 2, 0, detail="waiting for the application")  # an older agent
    eventually(lambda: shared.shown("t-waits")["update"]["sequence"] == 3)
    assert shared.shown("t-waits")["update"]["until"] is None
    assert ("report", "#3 waiting: waiting for the application") in texts(timeline(shared, "t-waits"))
