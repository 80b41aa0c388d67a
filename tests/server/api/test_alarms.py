"""Alarms by API and command line: filters, acknowledging with a note, mutes that end; each act is in the audit log."""

from __future__ import annotations

import json
from datetime import datetime

import pytest
from click.testing import CliRunner
from server_process import eventually

from ota_server.application import create_app
from ota_server.config import Config
from ota_server.security import tokens
from ota_server.store import Store, alarms
from tidegate.cli import main


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """An application without a broker, with two devices and the token of an operator."""
    app = create_app(Config(data=tmp_path_factory.mktemp("alarms")))
    store: Store = app.extensions["store"]
    with store.write() as session:
        admin = tokens.new_token(session, "boss", ["admin"])
    client = app.test_client()
    client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {admin}"
    for name in ("gate-1", "gate-2"):
        body = {"id": name, "board": "qemu_mps2", "product": "tidegate-gateway"}
        assert client.post("/api/v1/devices", json=body).status_code == 201
    return client, store


@pytest.fixture
def raised(server):
    """The ids of three new alarms: two of crashes, of each device, and one of a sensor."""
    client, store = server
    with store.write() as session:
        rows = [
            alarms.add(session, device, kind, "stuck", None, None, 1)
            for device, kind in (("gate-1", "crash"), ("gate-2", "crash"), ("gate-1", "sensor"))
        ]
        session.flush()
        return [row.id for row in rows]


def ids(client, query="", since=0):
    answer = client.get(f"/api/v1/alarms?since={since}&{query}")
    assert answer.status_code == 200, answer.text
    return [one["id"] for one in answer.json["alarms"]]


def acts(client):
    return [entry["action"] for entry in client.get("/api/v1/audit?limit=3").json["entries"]]


def test_filters(server, raised):
    client, _ = server
    first, second, third = raised
    since = first - 1
    assert ids(client, since=since) == raised
    assert ids(client, "kind=crash", since) == [first, second]
    assert ids(client, "device=gate-1", since) == [first, third]
    assert ids(client, "device=gate-1&kind=crash&state=open", since) == [first]
    assert ids(client, "state=acknowledged", since) == []
    assert client.get("/api/v1/alarms?device=nobody").status_code == 404
    of_device = client.get(f"/api/v1/devices/gate-1/alarms?kind=sensor&since={since}").json["alarms"]
    assert [one["id"] for one in of_device] == [third]
    for wrong in ("state=loud", "kind=", "kind=" + "x" * 33, "device=%00", "kind=%1b"):
        answer = client.get(f"/api/v1/alarms?{wrong}")
        assert answer.status_code == 400 and answer.json["remedy"], wrong


def test_acknowledging_says_who_and_what(server, raised):
    client, _ = server
    first, second, _ = raised
    body = {"alarms": [first, second, 2**53 - 1], "note": "the valve was exchanged"}
    assert client.post("/api/v1/alarms/acknowledge", json=body).json == {"acknowledged": [first, second]}
    assert acts(client)[0] == "alarm.acknowledge"
    shown = client.get(f"/api/v1/alarms?state=acknowledged&since={first - 1}").json["alarms"][0]
    assert shown["note"] == "the valve was exchanged" and shown["acknowledged_by"].endswith(":boss")
    again = client.post("/api/v1/alarms/acknowledge", json={**body, "note": "something else"})
    assert again.json == {"acknowledged": []}
    shown = client.get(f"/api/v1/alarms?state=acknowledged&since={first - 1}").json["alarms"][0]
    assert shown["note"] == "the valve was exchanged"
    for wrong in ([], ["1"], [0], [-1], [2**53], [True], [1.5], list(range(1, 502)), 1, None):
        answer = client.post("/api/v1/alarms/acknowledge", json={"alarms": wrong})
        assert answer.status_code == 400 and answer.json["remedy"], wrong
    for note in ("x" * 201, "\0", "\x1b[31m", 1):
        answer = client.post("/api/v1/alarms/acknowledge", json={"alarms": [first], "note": note})
        assert answer.status_code == 400 and answer.json["remedy"], note


def test_a_mute_has_an_end_and_is_ended_once(server, raised):
    client, _ = server
    since = raised[0] - 1
    body = {"kind": "crash", "device": "gate-1", "seconds": 3600, "why": "a new valve is on its way"}
    answer = client.post("/api/v1/alarms/mutes", json=body)
    assert answer.status_code == 201 and answer.json["device"] == "gate-1", answer.text
    number, began = answer.json["id"], datetime.fromisoformat(answer.json["created"])
    lasts = (datetime.fromisoformat(answer.json["until"]) - began).total_seconds()
    assert 3590 < lasts < 3610
    assert ids(client, "state=calling", since) == raised[1:]
    assert ids(client, "state=open", since) == raised
    muted = [one["muted_until"] for one in client.get(f"/api/v1/alarms?since={since}").json["alarms"]]
    assert muted == [answer.json["until"], None, None]
    assert [one["id"] for one in client.get("/api/v1/alarms/mutes").json["mutes"]] == [number]
    assert client.delete(f"/api/v1/alarms/mutes/{number}").status_code == 200
    assert ids(client, "state=calling", since) == raised
    for gone in (number, number + 1, 2**53, 10**30):
        answer = client.delete(f"/api/v1/alarms/mutes/{gone}")
        assert answer.status_code == 404 and "tidegate alarms mutes" in answer.json["remedy"]
    assert acts(client)[:2] == ["alarm.unmute", "alarm.mute"]
    for wrong in ({"seconds": 0}, {"seconds": 2**40}, {"seconds": "1h"}, {"kind": ""}, {"kind": "a\0"}, {"device": ""}):
        answer = client.post("/api/v1/alarms/mutes", json={**body, **wrong})
        assert answer.status_code == 400 and answer.json["remedy"], wrong
    assert client.post("/api/v1/alarms/mutes", json={**body, "device": "nobody"}).status_code == 404


def test_the_command_line(start, tmp_path):
    server = start()
    options = ["--server", server.url, "--token-file", str(server.data / "admin.token")]

    def run(*words, code=0):
        done = CliRunner().invoke(main, ["alarms", *words, *options])
        assert done.exit_code == code, done.output
        return done.stdout

    device = server.device("gate-1")
    device.born("1.0.0", 1)
    device.say("alarm", {"nonsense": 1})
    eventually(lambda: server.api("GET", "/alarms")["alarms"])
    (one,) = json.loads(run("list", "--json"))["alarms"]
    assert "open" in run("list", "--state", "calling", "--kind", one["kind"], "--device", "gate-1")
    assert "is muted until" in run("mute", one["kind"], "--for", "2h", "--why", "known", "--device", "gate-1")
    assert "muted until" in run("list") and "no such alarms" in run("list", "--state", "calling")
    seen = ("--seen", str(tmp_path / "seen"), "--run", "false")
    assert run("forward", *seen) == "0 new alarms\n"
    (mute,) = json.loads(run("mutes", "--json"))["mutes"]
    assert mute["why"] == "known" and "gate-1" in run("mutes")
    assert "is muted no more" in run("unmute", str(mute["id"])) and "Every alarm calls" in run("mutes")
    run("unmute", str(mute["id"]), code=1)
    assert f"acknowledged: {one['id']}\n" == run("ack", str(one["id"]), "--note", "seen on site")
    assert "seen on site" in run("list", "--limit", "1")
    assert "acknowledged: none" in run("ack", "--kind", one["kind"])
    assert "before, or unknown: 99" in run("ack", "99")
    run("ack", code=2)
    run("ack", "1", "--kind", "crash", code=2)
    run("mute", "crash", "--for", "soon", code=1)
