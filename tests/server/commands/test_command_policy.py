"""Commands through a running server: judged before they are kept and before they go out, taken back, followed over
restarts. What must not go out is looked for on the wire, by a device that listens."""

from __future__ import annotations

import base64
import signal
import sqlite3
import time
from typing import Any

import pytest
from device_commands import send
from patience import limit
from server_process import KeyRing, ServerProcess, eventually

from tidegate.commands import cwt
from tidegate.trust import keys
from tidegate.trust import store as trust_store
from tidegate.wire.cbor import dumps

NONCE = bytes(range(8))


def cti(counter: int) -> bytes:
    return counter.to_bytes(8, "big")


def shown(server: ServerProcess, counter: int, **params: Any) -> dict[str, Any]:
    return server.api("GET", f"/commands/{counter:016x}", params=params)


def state(server: ServerProcess, counter: int) -> str:
    return shown(server, counter)["state"]


def by(key: keys.Key | list[keys.Key], device: str, counter: int, opcode: str = "info", **other: Any) -> bytes:
    now = int(time.time())
    fields = {"issued": now, "expires": now + 600, **other}
    return cwt.make(key, cwt.Command(device, opcode, {}, cti(counter), **fields))


def edit(server: ServerProcess, statement: str, *values: Any) -> None:
    """As somebody with the server's disk would."""
    with sqlite3.connect(server.data / "tidegate.db", timeout=20) as database:
        database.execute(statement, values)


def heard_in_the_end(server: ServerProcess, device: Any, ring: KeyRing, counter: int) -> list[bytes]:
    """All commands the device heard by the time a last, good one has arrived."""
    last = by(ring.command, device.id, counter)
    assert send(server, device.id, last).status_code == 202
    eventually(lambda: last in [payload for _, payload, _ in device.heard])
    return [payload for topic, payload, _ in device.heard if topic.endswith("/cmd")]


def reasons(server: ServerProcess, device: str) -> list[str]:
    return [alarm["reason"] for alarm in server.shown(device)["alarms"] if alarm["kind"] == "command-refused"]


# ---------------------------------------------------------------- judged


def test_what_no_device_would_carry_out_goes_nowhere(shared, ring):
    device = shared.device("gw-judge")
    device.born()
    good = by(ring.command, "gw-judge", 10)
    bad = {
        "unknown-key": by(keys.new("command"), "gw-judge", 1),
        "signature": good[:-1] + bytes([good[-1] ^ 1]),
        "audience": by(ring.command, "gw-else", 3),
    }
    for reason, message in bad.items():
        answer = send(shared, "gw-judge", message)
        assert answer.status_code == 422 and answer.json()["type"].endswith(reason), answer.text
        assert answer.json()["remedy"] or reason == "signature"
    future = by(ring.command, "gw-judge", 5, issued=2**40, expires=2**40 + 60)
    assert send(shared, "gw-judge", future).json()["type"].endswith("time")
    impostor = keys.from_seed("command", ring.release.private)  # a release key is none for commands
    assert "has the role release" in send(shared, "gw-judge", by(impostor, "gw-judge", 4)).json()["detail"]
    assert heard_in_the_end(shared, device, ring, 11) == [by_counter(device, 11)]
    listed = shared.api("GET", "/commands", params={"device": "gw-judge"})["commands"]
    assert [row["cti"] for row in listed] == [f"{11:016x}"], "and nothing of it takes up room"
    assert {"unknown-key", "signature", "audience"} <= set(reasons(shared, "gw-judge"))


def by_counter(device: Any, counter: int) -> bytes:
    return next(m for _, m, _ in device.heard if cwt.decode(m)[0].cti == cti(counter))


def test_quorums_and_the_role_diagnose(start, tmp_path):
    first, second, diagnose = keys.new("command"), keys.new("command"), keys.new("diagnose")
    store = trust_store.make([first, second, diagnose], thresholds={"command": 2})
    (tmp_path / "quorum.cbor").write_bytes(trust_store.encode(store))
    server = start("--trust", str(tmp_path / "quorum.cbor"), trusting=False)
    server.register("gw-1")
    assert send(server, "gw-1", by(first, "gw-1", 1)).json()["type"].endswith("threshold")
    told = send(server, "gw-1", by([first, second], "gw-1", 2, "reboot")).json()
    assert (told["role"], told["kids"]) == ("command", [first.kid.hex(), second.kid.hex()])
    assert send(server, "gw-1", by(diagnose, "gw-1", 3, "log.tail")).json()["role"] == "diagnose"
    refused = send(server, "gw-1", by(diagnose, "gw-1", 4, "reboot"))
    assert refused.status_code == 422 and refused.json()["type"].endswith("role")
    # What an application's opcode needs, only the device knows.
    assert send(server, "gw-1", by(diagnose, "gw-1", 5, "valve.set")).status_code == 202


def test_without_a_trust_store_it_waits_to_be_checked(start, ring):
    server = start(trusting=False)
    password = server.register("gw-1")
    assert send(server, "gw-1", by(ring.command, "gw-1", 1)).json()["state"] == "pending"
    assert send(server, "gw-1", by(keys.new("command"), "gw-1", 2)).json()["state"] == "pending"
    device = server.device("gw-1", password)
    device.online()
    eventually(lambda: server.shown("gw-1")["online"])
    assert server.stop() == 0
    server = start("--trust", str(ring.trust), data=server.data, trusting=False)
    eventually(lambda: state(server, 1) == "verified" and state(server, 2) == "refused")
    assert "unknown-key" in shown(server, 2)["why"] and reasons(server, "gw-1") == ["unknown-key"]
    device = server.device("gw-1", password)
    device.online()
    assert heard_in_the_end(server, device, ring, 3) == [by_counter(device, 1), by_counter(device, 3)]


def test_a_key_that_is_dropped_meanwhile_no_longer_counts(start, ring, tmp_path):
    server = start()
    password = server.register("gw-1")
    send(server, "gw-1", by(ring.command, "gw-1", 1))
    server.stop()
    new = keys.new("command")
    (tmp_path / "new.cbor").write_bytes(
        trust_store.encode(trust_store.make([ring.release, new], 2, revoked=[ring.command.kid]))
    )
    server = start("--trust", str(tmp_path / "new.cbor"), data=server.data, trusting=False)
    device = server.device("gw-1", password)
    device.online()
    refused = eventually(lambda: (c := shown(server, 1))["state"] == "refused" and c)
    assert "was revoked" in refused["why"] and refused["history"][-1]["by"] == "server"
    last = by(new, "gw-1", 2)
    send(server, "gw-1", last)
    assert device.wait_heard("cmd") == [last]


def test_a_board_that_started_anew_is_spared_what_it_would_refuse(shared, ring):
    device = shared.device("gw-nonce")
    device.born(_7=bytes(8))
    device.vanish()
    eventually(lambda: not shared.shown("gw-nonce")["online"])
    for counter, nonce in ((1, bytes(8)), (2, NONCE)):
        assert send(shared, "gw-nonce", by(ring.command, "gw-nonce", counter, nonce=nonce)).status_code == 202
    back = shared.device("gw-nonce", shared.api("POST", "/devices/gw-nonce/credentials")["mqtt"]["password"])
    back.say("birth", {**birth(), 7: NONCE}, retain=True)
    eventually(lambda: shared.shown("gw-nonce")["nonce"] == NONCE.hex())
    back.online()
    eventually(lambda: state(shared, 2) == "uplinked")
    assert state(shared, 1) == "refused" and "restarted" in shown(shared, 1)["why"]
    assert [cwt.decode(m)[0].cti for m in back.wait_heard("cmd")] == [cti(2)] and reasons(shared, "gw-nonce") == []


def birth() -> dict[int, Any]:
    names = {2: "unix", 3: "tidegate-gateway", 4: "1.0.0", 5: 1, 6: bytes(32)}
    return {1: 1, **names, 8: "power-on", 9: False, 10: "1.25.0", 11: 1}


# ---------------------------------------------------------------- handed in again, taken back, too many


def test_the_same_again_is_the_same_and_another_with_its_counter_is_refused(shared, ring):
    device = shared.device("gw-again")
    message = by(ring.command, "gw-again", 1)
    assert send(shared, "gw-again", message).status_code == 202
    assert send(shared, "gw-again", message).status_code == 200
    other = send(shared, "gw-again", by(ring.command, "gw-again", 1, "reboot"))
    assert other.status_code == 409 and "used once" in other.json()["remedy"]
    device.online()
    assert device.wait_heard("cmd") == [message]
    device.say("result", {1: cti(1), 2: 0})
    eventually(lambda: state(shared, 1) == "confirmed" and shown(shared, 1, device="gw-again"))
    again = send(shared, "gw-again", message)
    assert (again.status_code, again.json()["state"]) == (200, "confirmed")
    assert len(heard_in_the_end(shared, device, ring, 2)) == 2, "a replay through the server goes nowhere"


def test_taken_back_before_it_goes_out_and_not_after(shared, ring):
    device = shared.device("gw-cancel")
    assert send(shared, "gw-cancel", by(ring.command, "gw-cancel", 70)).json()["state"] == "verified"
    reader = shared.token_for("read")
    refused = shared.http.post(f"/api/v1/commands/{70:016x}/cancel", headers=reader)
    assert refused.status_code == 403
    cancelled = shared.api("POST", f"/commands/{70:016x}/cancel")
    assert cancelled["state"] == "cancelled" and cancelled["arguments"] is None, "the signed message is gone"
    assert shared.api("POST", f"/commands/{70:016x}/cancel")["state"] == "cancelled"
    assert cancelled["history"][-1]["by"].startswith("token:")
    device.online()
    assert [cwt.decode(m)[0].cti for m in heard_in_the_end(shared, device, ring, 71)] == [cti(71)]
    eventually(lambda: state(shared, 71) == "uplinked")
    late = shared.http.post(f"/api/v1/commands/{71:016x}/cancel")
    assert late.status_code == 409 and "cannot be cancelled" in late.json()["remedy"]
    assert shared.http.post("/api/v1/commands/0123/cancel").status_code == 404
    acts = [entry["action"] for entry in shared.api("GET", "/audit")["entries"]]
    assert acts.count("command.cancel") == 1


def test_lists_and_how_many_may_wait(start, ring):
    server = start()
    server.register("gw-1")
    server.register("gw-2")
    for counter in range(1, 65):
        assert send(server, "gw-1", by(ring.command, "gw-1", counter)).status_code == 202
    full = send(server, "gw-1", by(ring.command, "gw-1", 65))
    assert full.status_code == 409 and "64 commands wait" in full.json()["detail"]
    assert send(server, "gw-2", by(ring.command, "gw-2", 64)).status_code == 202

    def counters(**params: Any) -> list[str]:
        rows = server.api("GET", "/commands", params=params)["commands"]
        return [f"{row['device']} {int(row['cti'], 16)}" for row in rows]

    assert counters(limit=2) == ["gw-2 64", "gw-1 64"]
    assert counters(device="gw-2") == ["gw-2 64"] and len(counters(group="default", limit=500)) == 65
    assert counters(state="uplinked") == [] and counters(group="none") == []
    assert server.http.get("/api/v1/commands", params={"state": "sent"}).status_code == 400
    assert shown(server, 64)["device"] == "gw-2" and shown(server, 64, device="gw-1")["device"] == "gw-1"


# ---------------------------------------------------------------- answers


def test_a_long_answer_is_shown_as_it_comes(shared, ring):
    device = shared.device("gw-parts")
    device.born()
    send(shared, "gw-parts", by(ring.command, "gw-parts", 800, "log.tail"))
    device.wait_heard("cmd")
    device.say("result", {1: cti(800), 2: 3, 5: [0, True], 6: "first\n"})
    # The answer may be filed before the word that the broker took the command.
    running = eventually(lambda: (c := shown(shared, 800))["output"] and c["state"] == "uplinked" and c)
    assert (running["output"], running["outcome"]) == ("first\n", None)
    for _ in range(2):  # QoS 1
        device.say("result", {1: cti(800), 2: 3, 5: [1, True], 6: "second\n"})
    device.say("result", {1: cti(800), 2: 0, 3: {"lines": 2, "text": "a\nb"}, 5: [2, False]})
    done = eventually(lambda: (c := shown(shared, 800))["outcome"] and c)
    assert done["output"] == "first\nsecond\n" and done["missing_parts"] == [] and done["output_size"] == 13
    assert done["result"]["answer"] == {"lines": 2, "text": "a\nb"}
    bad = ({1: cti(800), 2: 3, 6: "x"}, {1: cti(800), 2: 3, 5: [0, True]}, {1: cti(800), 2: 0, 6: "x"})
    for message in bad:
        device.say("result", message)
    count = eventually(lambda: [a for a in shared.shown("gw-parts")["alarms"] if a["kind"] == "bad-message"])
    eventually(lambda: shared.shown("gw-parts")["alarms"][0]["count"] == len(bad) and count)


def test_what_the_device_last_offered_is_kept(shared, ring):
    device = shared.device("gw-ops")
    assert shared.api("GET", "/devices/gw-ops/opcodes") == {"asked": None}
    device.born()
    send(shared, "gw-ops", by(ring.command, "gw-ops", 900, "ops"))
    device.wait_heard("cmd")
    device.say("result", {1: cti(900), 2: 0, 3: {"info": [1, 10, False, {}]}})
    asked = eventually(lambda: shared.api("GET", "/devices/gw-ops/opcodes")["asked"])
    assert asked["result"]["answer"] == {"info": [1, 10, False, {}]}


def test_a_crash_is_kept_with_its_trace(shared):
    device = shared.device("gw-crash")
    device.born()
    trace = "task sensors\nTraceback:\n  x.py, line 7\nOSError: 19\x1b[2J"
    device.say("alarm", {1: "crash", 2: "OSError", 3: "ENODEV", 6: trace})
    crash = eventually(lambda: shared.shown("gw-crash")["crash"])
    assert crash["trace"] == "task sensors\nTraceback:\n  x.py, line 7\nOSError: 19\ufffd[2J"
    status = next(d for d in shared.api("GET", "/status")["devices"] if d["id"] == "gw-crash")
    assert status["crash"] == crash and shared.shown("gw-crash")["alarms"][0] == crash


# ---------------------------------------------------------------- restarts


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_the_server_starts_anew_between_any_two_steps(start, ring, how):
    server = start()
    password = server.register("gw-1")

    def again() -> ServerProcess:
        for device in server._devices:
            device.leave()
        server.http.close()
        server.process.send_signal(how)
        server.process.wait(limit(60))
        server.process.stdout.close()
        (server.data / "serve.json").unlink(missing_ok=True)
        return start(data=server.data)

    messages = [by(ring.command, "gw-1", counter) for counter in (1, 2)]
    for message in messages:
        assert send(server, "gw-1", message).json()["state"] == "verified"
    server = again()
    assert state(server, 1) == "verified"
    device = server.device("gw-1", password)
    device.born()
    assert device.wait_heard("cmd", count=2) == messages
    eventually(lambda: state(server, 2) == "uplinked")
    device.say("result", {1: cti(1), 2: 3, 5: [0, True], 6: "half "})
    eventually(lambda: shown(server, 1)["output"] == "half ")
    server = again()
    assert [state(server, counter) for counter in (1, 2)] == ["uplinked", "uplinked"]
    device = server.device("gw-1", password)
    device.born()
    device.say("result", {1: cti(1), 2: 3, 5: [1, True], 6: "and half"})
    device.say("result", {1: cti(1), 2: 0, 5: [2, False]})
    device.say("result", {1: cti(2), 2: 2, 4: "busy: later"})
    eventually(lambda: state(server, 1) == "confirmed" and state(server, 2) == "refused")
    server = again()
    assert shown(server, 1)["output"] == "half and half" and shown(server, 2)["why"] == "busy: later"
    assert [step["state"] for step in shown(server, 1)["history"]] == ["pending", "verified", "uplinked", "confirmed"]
    device = server.device("gw-1", password)
    device.born()
    assert [cwt.decode(m)[0].cti for m in heard_in_the_end(server, device, ring, 3)] == [cti(3)], "nothing goes twice"
    assert "Traceback" not in server.log.read_text()


# ---------------------------------------------------------------- somebody with the server's database


def test_rows_that_somebody_edited_go_nowhere(start, ring):
    """The database is no proof of anything: what is in it is judged once more before it goes out."""
    server = start()
    one, two = server.register("gw-1"), server.register("gw-2")
    device, other = server.device("gw-1", one), server.device("gw-2", two)
    device.born()
    old = by(ring.command, "gw-1", 1, "reboot")
    send(server, "gw-1", old)
    device.wait_heard("cmd")
    device.say("result", {1: cti(1), 2: 0})
    eventually(lambda: state(server, 1) == "confirmed")
    for counter in range(2, 8):  # they wait for gw-2, which is not there
        assert send(server, "gw-2", by(ring.command, "gw-2", counter)).status_code == 202

    def touch(counter: int, column: str, value: Any) -> None:
        edit(server, f"UPDATE command SET {column} = ? WHERE cti = ?", value, f"{counter:016x}")

    touch(2, "message", by(keys.new("command"), "gw-2", 2))  # forged
    touch(3, "message", old)  # another device's
    touch(4, "message", by(ring.command, "gw-2", 3))  # good, but not the one that was handed in
    touch(5, "opcode", "reboot")
    touch(6, "message", dumps({1: 2}))
    touch(7, "device_id", "gw-1")
    expired = by(ring.command, "gw-2", 8, issued=1, expires=2)
    row = ("gw-2", f"{8:016x}", ring.command.kid.hex(), "info", expired, "verified", 1, 2**42, 0, 0)
    names = "device_id, cti, kid, opcode, message, state, created_at, expires_at, output_size, truncated"
    edit(server, f"INSERT INTO command ({names}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", *row)
    other.born()
    for counter in range(2, 9):
        eventually(lambda counter=counter: shown(server, counter)["state"] == "refused")
    assert [cwt.decode(m)[0].cti for m in heard_in_the_end(server, device, ring, 100)] == [cti(1), cti(100)]
    assert [cwt.decode(m)[0].cti for m in heard_in_the_end(server, other, ring, 101)] == [cti(101)]
    assert {"unknown-key", "audience", "malformed", "expired"} <= {*reasons(server, "gw-1"), *reasons(server, "gw-2")}
    assert "Traceback" not in server.log.read_text()


def test_the_body_is_checked(shared, ring):
    shared.register("gw-body")
    message = base64.b64encode(by(ring.command, "gw-body", 1)).decode()
    for body in ({}, {"command": 7}, {"command": message, "x": 1}, [message], {"command": "%"}):
        assert shared.http.post("/api/v1/devices/gw-body/commands", json=body).status_code == 400
    reader = shared.token_for("read")
    refused = shared.http.post("/api/v1/devices/gw-body/commands", json={"command": message}, headers=reader)
    assert refused.status_code == 403
    assert shared.api("GET", "/commands", params={"device": "gw-body"})["commands"] == []
