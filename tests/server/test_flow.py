"""The way of an update through the server, with the broker inside: register, birth, publish, offer, report, command."""

from __future__ import annotations

import time

import signed_releases as releases
from device_commands import send, signed
from server_process import eventually

from tidegate.wire.cbor import dumps


def test_a_device_registers_connects_and_is_shown(shared):
    device = shared.device("gw-birth")
    device.born("1.0.0", 1)
    shown = eventually(lambda: (d := shared.shown("gw-birth"))["version"] and d)
    assert shown["online"] and shown["protocol"] == "mqtt"
    assert (shown["version"], shown["sequence"], shown["digest"]) == ("1.0.0", 1, "11" * 32)
    assert shown["nonce"] == "0001020304050607" and shown["reset_cause"] == "power-on"
    assert 0 <= shown["last_seen_s"] < 60
    device.vanish()
    eventually(lambda: shared.shown("gw-birth")["online"] is False)


def test_the_password_is_shown_once_and_can_be_replaced(shared):
    old = shared.register("gw-password")
    again = shared.http.post(
        "/api/v1/devices", json={"id": "gw-password", "board": "unix", "product": "tidegate-gateway"}
    )
    assert again.status_code == 409 and "credentials" in again.json()["remedy"]
    assert old not in shared.http.get("/api/v1/devices/gw-password").text
    assert old.encode() not in (shared.data / "tidegate.db").read_bytes()
    new = shared.api("POST", "/devices/gw-password/credentials")["mqtt"]["password"]
    assert shared.device("gw-password", old).refused
    assert not shared.device("gw-password", new).refused


def test_telemetry_is_resolved_and_kept(shared):
    device = shared.device("gw-tele")
    base = "urn:dev:org:tidegate:gw-tele:"
    for i in range(3):
        device.say(
            "tele/env", [{-2: base, 0: "temperature", 1: "Cel", 2: 20.5 + i}, {0: "heap", 1: "B", 2: 40000 + i}], qos=0
        )
    eventually(lambda: shared.shown("gw-tele")["telemetry"].get("heap", {}).get("value") == 40002)
    shown = shared.shown("gw-tele")["telemetry"]
    assert shown["temperature"]["value"] == 22.5 and shown["temperature"]["unit"] == "Cel"
    rows = shared.api("GET", "/devices/gw-tele/telemetry", params={"name": "temperature"})["telemetry"]
    assert [row["value"] for row in rows] == [22.5, 21.5, 20.5] and {row["stream"] for row in rows} == {"env"}
    newer = shared.api("GET", "/devices/gw-tele/telemetry", params={"after": rows[1]["id"]})["telemetry"]
    assert [row["value"] for row in newer] == [40001, 22.5, 40002], "as they came, only what came after"


def test_an_update_from_publishing_to_confirmed(start, ring):
    server = start()
    device = server.device("gw-1")
    device.born("1.0.0", 1)
    eventually(lambda: server.shown("gw-1")["version"])  # a birth filed after the release would have it sent once more
    first = releases.make(ring.release, "1.0.0", 1)
    assert server.publish(first).status_code == 201
    offer = device.wait_heard("offer")[0]
    assert offer == first["envelopes"]["unix"]
    second = releases.make(ring.release, "1.1.0", 2, bases=(first["image"],))
    answer = server.publish(second).json()
    assert answer["offered"] == 1 and answer["warnings"] == [] and answer["published"]
    assert answer["targets"]["unix"]["patches"][0]["checked"] is True
    assert device.wait_heard("offer", count=2)[-1] == second["envelopes"]["unix"]
    assert eventually(lambda: (o := server.shown("gw-1")["offer"])["state"] == "offered" and o)["version"] == "1.1.0"

    # A device registered later, or one that comes back, hears the newest offer from the broker's memory.
    late = server.device("gw-2")
    assert late.wait_heard("offer") == [second["envelopes"]["unix"]]
    other = server.device("gw-other", server.register("gw-other", board="qemu_mps2"))

    device.report(1, 2, 1, 0)
    for done in (0, 512, 1024):
        device.report(2, 2, 1, 0, progress=[done, 1024])
    shown = eventually(
        lambda: (u := server.shown("gw-1")["update"]) and (u["progress"] or {}).get("done") == 1024 and u
    )
    assert (shown["phase"], shown["state"], shown["sequence"]) == ("fetching", "downloading", 2)
    device.report(4, 2, 3, 0)
    device.born("1.1.0", 2, _9=True)
    eventually(lambda: server.shown("gw-1")["trial"] and server.shown("gw-1")["offer"]["state"] == "offered")
    device.report(6, 2, 0, 1)
    eventually(lambda: server.shown("gw-1")["update"]["phase"] == "confirmed")
    shown = server.shown("gw-1")
    assert shown["offer"]["state"] == "running" and not shown["trial"] and shown["update"]["result"] == "success"
    phases = [report["phase"] for report in shown["reports"]]
    assert phases == ["confirmed", "installed", "fetching", "offered"], "progress takes the place of progress"
    assert other.heard == []


def test_a_rolled_back_release_is_shown_and_stays_offered(start, ring):
    server = start()
    device = server.device("gw-1")
    device.born("1.0.0", 1)
    server.publish(releases.make(ring.release, "1.2.0", 3))
    device.wait_heard("offer")
    device.report(7, 3, 0, 8, verdict={5: 33, 7: 11}, detail="watchdog")
    device.say("alarm", {1: "rolled-back", 2: "watchdog", 3: "the trial of 1.2.0 did not confirm"})
    shown = eventually(lambda: (d := server.shown("gw-1"))["alarms"] and d)
    assert shown["offer"] == {"version": "1.2.0", "sequence": 3, "state": "failed"}
    assert shown["update"]["phase"] == "rolled-back" and shown["update"]["verdict"]["reason"] == "operation-failed"
    assert shown["alarms"][0]["kind"] == "rolled-back" and shown["alarms"][0]["source"] == "device"
    device.vanish()
    back = server.device("gw-1", server.api("POST", "/devices/gw-1/credentials")["mqtt"]["password"])
    back.wait_heard("offer")
    server.publish(releases.make(ring.release, "1.2.1", 4))
    back.wait_heard("offer", count=2)
    assert server.shown("gw-1")["offer"]["sequence"] == 4 and server.shown("gw-1")["offer"]["state"] != "failed"


def test_a_command_is_relayed_as_it_is_and_answered(shared, ring):
    device = shared.device("gw-cmd")
    message = signed(ring, "gw-cmd", 100)
    answer = send(shared, "gw-cmd", message)
    assert answer.status_code == 202 and answer.json()["state"] == "verified" and answer.json()["cti"] == f"{100:016x}"
    time.sleep(0.7)
    assert shared.api("GET", f"/commands/{100:016x}")["state"] == "verified", "nobody is there to hear it"
    device.online()
    assert device.wait_heard("cmd") == [message]
    eventually(lambda: shared.api("GET", f"/commands/{100:016x}")["state"] == "uplinked")
    assert send(shared, "gw-cmd", message).status_code == 200, "the same again while it is open is not sent twice"
    device.say(
        "result", {1: (100).to_bytes(8, "big"), 2: 0, 3: {"heap": 40000, "digest": b"\x01\x02", "nan": float("nan")}}
    )
    done = eventually(lambda: (c := shared.api("GET", f"/commands/{100:016x}"))["outcome"] == "done" and c)
    assert done["result"]["answer"] == {"heap": 40000, "digest": "0102", "nan": None} and done["ended"]
    assert [step["state"] for step in done["history"]] == ["pending", "verified", "uplinked", "confirmed"]
    assert send(shared, "gw-cmd", message).json()["state"] == "confirmed", "and not after it either"
    assert len(device.wait_heard("cmd")) == 1


def test_commands_that_cannot_arrive_are_refused_at_once(shared, ring):
    shared.register("gw-unsent")
    now = int(time.time())
    wrong = send(shared, "gw-unsent", signed(ring, "gw-else", 300))
    assert wrong.status_code == 422 and "gw-else" in wrong.json()["detail"]
    old = send(shared, "gw-unsent", signed(ring, "gw-unsent", 301, issued=now - 100, expires=now - 40))
    assert old.status_code == 422 and "expired" in old.json()["detail"]
    assert send(shared, "gw-nobody", signed(ring, "gw-nobody", 302)).status_code == 404
    for body in (b"", b"\xff" * 40, dumps({1: 2}), signed(ring, "gw-unsent", 303) + b"\x00"):
        refused = send(shared, "gw-unsent", body)
        assert refused.status_code == 422, refused.text
        assert refused.headers["content-type"] == "application/problem+json"
    assert send(shared, "gw-unsent", b"x" * 1025).status_code == 413
    assert shared.api("GET", "/commands", params={"device": "gw-unsent"})["commands"] == []


def test_a_command_nobody_answers_expires(start, ring):
    server = start()
    server.register("gw-1")
    now = int(time.time())
    send(server, "gw-1", signed(ring, "gw-1", 1, issued=now - 100, expires=now + 3600))
    # The grace for late answers is ten seconds: rather than wait, move the row into the past.
    with server_store(server).write() as session:
        from ota_server.store.models import Command

        session.query(Command).update({"expires_at": 1})
    expired = eventually(lambda: (c := server.api("GET", f"/commands/{1:016x}"))["state"] == "expired" and c)
    assert "could not be sent" in expired["why"], "nobody was there"


def server_store(server):
    from ota_server.store import Store

    return Store(f"sqlite:///{server.data / 'tidegate.db'}")


def test_a_restart_loses_nothing(start, ring):
    server = start()
    device = server.device("gw-1")
    device.born("1.0.0", 1)
    release = releases.make(ring.release, "1.1.0", 2)
    server.publish(release)
    device.wait_heard("offer")
    password = server.api("POST", "/devices/gw-1/credentials")["mqtt"]["password"]
    assert server.stop() == 0
    again = start(data=server.data)
    assert again.token == server.token
    shown = again.shown("gw-1")
    assert shown["version"] == "1.0.0" and not shown["online"]
    # The broker inside forgot its retained messages; the database did not.
    assert again.device("gw-1", password).wait_heard("offer") == [release["envelopes"]["unix"]]
