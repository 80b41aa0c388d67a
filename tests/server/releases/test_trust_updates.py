"""Trust updates through the server: judged, kept, handed out one version after the other, offers withdrawn."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import pytest
import signed_releases as releases
from click.testing import CliRunner
from root_ring import RootRing, post
from server_process import ServerProcess, eventually

from tidegate.cli import main
from tidegate.trust import keys, rotation, store
from tidegate.wire.cbor import dumps


@pytest.fixture
def ring(tmp_path_factory: pytest.TempPathFactory) -> RootRing:
    return RootRing(tmp_path_factory.mktemp("root-keys"))


def test_a_rotation_in_the_field(start, ring):
    """The release key is lost; a device that slept through both updates catches up, then is offered what is new."""
    server = start()
    awake, asleep = server.device("gw-awake"), server.device("gw-asleep")
    for device in (awake, asleep):
        device.born("1.0.0", 1)
        # Filed before the release is there: else the birth has the offer sent once more.
        eventually(lambda name=device.id: server.shown(name)["version"] == "1.0.0")
    server.publish(releases.make(ring.release, "1.1.0", 2))
    for device in (awake, asleep):
        device.wait_heard("offer")
        device.born("1.1.0", 2)
        eventually(lambda name=device.id: server.shown(name)["version"] == "1.1.0")
    asleep.vanish()
    assert server.shown("gw-awake")["trust"] == {"version": 1, "newest": None, "state": "current"}

    first = post(server, ring.updates[0])
    assert first.status_code == 201 and first.json()["version"] == 2 and first.json()["withdrawn"] == []
    assert awake.wait_heard("trust") == [ring.updates[0]]
    assert post(server, ring.updates[0]).status_code == 200  # again is harmless
    second = post(server, ring.updates[1])
    assert second.status_code == 201
    assert second.json()["withdrawn"] == [{"product": "tidegate-gateway", "version": "1.1.0", "board": "unix"}]
    assert len(awake.wait_heard("trust")) == 1, "version 3 waits until version 2 is taken"
    eventually(lambda: server.shown("gw-awake")["offer"] is None)

    awake.born("1.1.0", 2, _11=2)
    assert awake.wait_heard("trust", count=2)[1] == ring.updates[1]
    assert server.publish(releases.make(ring.release, "1.2.0", 3)).json()["type"].endswith("unknown-key")
    assert server.publish(releases.make(ring.new_release, "1.2.0", 3)).status_code == 201
    # The withdrawal, and nothing after it: held back until the device knows the new key.
    assert awake.wait_heard("offer", count=2)[1:] == [b""]
    awake.born("1.1.0", 2, _11=3)
    assert awake.wait_heard("offer", count=3)[2]
    assert server.shown("gw-awake")["trust"] == {"version": 3, "newest": 3, "state": "current"}

    password = server.api("POST", "/devices/gw-asleep/credentials")["mqtt"]["password"]
    back = server.device("gw-asleep", password)
    back.born("1.1.0", 2)
    assert eventually(lambda: ring.updates[0] in back.wait_heard("trust"))
    assert server.shown("gw-asleep")["trust"]["state"] == "behind"
    back.born("1.1.0", 2, _11=2)
    assert eventually(lambda: ring.updates[1] in back.wait_heard("trust"))
    assert not [payload for topic, payload, _ in back.heard if topic.endswith("/offer") and payload]
    back.born("1.1.0", 2, _11=3)
    assert back.wait_heard("offer")
    told = server.api("GET", "/trust")
    assert told["version"] == 3 and told["devices"] == {"3": 2}
    assert [update["version"] for update in told["updates"]] == [2, 3]
    assert told["updates"][0]["signed_by"] == [ring.root.kid.hex()]
    acts = server.api("GET", "/audit")["entries"]
    assert [act["subject"] for act in acts if act["action"] == "trust.publish"] == ["version 3", "version 2"]


def test_what_is_held_back_goes_out_in_waves_and_then_to_all(start, ring):
    server = start()
    first, other = server.device("gw-first"), server.device("gw-other")
    for device in (first, other):
        device.born("1.0.0", 1)
        eventually(lambda name=device.id: server.shown(name)["version"] == "1.0.0")
    body = {"update": base64.b64encode(ring.updates[0]).decode(), "hold": True}
    for code in (201, 200):
        answer = server.http.post("/api/v1/trust", json=body)
        assert answer.status_code == code and answer.json()["held"] is True, answer.text
    told = server.api("GET", "/trust")
    assert told["version"] == 1 and [update["held"] for update in told["updates"]] == [True]
    waves = "/rollouts/tidegate-gateway/trust@2/waves"
    server.api("POST", f"{waves}/start", json={"to": "device=gw-first", "waves": "100%", "soak": "0s"})
    assert first.wait_heard("trust") == [ring.updates[0]]
    server.publish(releases.make(ring.release, "1.1.0", 2))
    assert first.wait_heard("offer") and other.wait_heard("offer"), "releases do not wait for it"
    first.born("1.0.0", 1, _11=2)
    eventually(lambda: server.api("GET", waves)["counts"]["confirmed"] == 1)
    assert not [topic for topic, _, _ in other.heard if topic.endswith("/trust")]
    done = post(server, ring.updates[0])
    assert done.status_code == 200 and done.json()["held"] is False and server.api("GET", "/trust")["version"] == 2
    assert other.wait_heard("trust") == [ring.updates[0]]
    late = server.http.post("/api/v1/trust", json=body)
    assert late.status_code == 409 and "goes to all" in late.json()["detail"]


def test_a_restart_with_the_first_store_goes_on_with_the_newest(start, ring):
    server = start()
    for update in ring.updates:
        assert post(server, update).status_code == 201
    assert server.stop() == 0
    again = start(data=server.data)
    assert again.api("GET", "/trust")["version"] == 3
    assert again.publish(releases.make(ring.release, "1.1.0", 2)).status_code == 422
    assert again.publish(releases.make(ring.new_release, "1.1.0", 2)).status_code == 201
    device = again.device("gw-late")
    device.born("1.0.0", 1)
    assert device.wait_heard("trust") == [ring.updates[0]]


def test_a_device_that_no_update_can_bring_on_raises_an_alarm(start, ring):
    ring.trust.write_bytes(store.encode(ring.stores[1]))
    server = start()
    assert post(server, ring.updates[1]).status_code == 201
    device = server.device("gw-old")
    device.born("1.0.0", 1)
    alarm = eventually(lambda: server.api("GET", "/alarms")["alarms"])[0]
    assert (alarm["kind"], alarm["reason"]) == ("trust-behind", "no-update")
    assert "version 2" in alarm["detail"]


def refused(answer: Any, status: int, word: str, *texts: str) -> None:
    body = answer.json()
    assert answer.status_code == status and body["type"] == f"about:tidegate/{word}", body
    for text in texts:
        assert text in body["detail"] + body["remedy"], body


def test_what_a_device_would_refuse_is_refused(start, ring):
    server = start()
    good = ring.updates[0]
    changed = bytearray(good)
    changed[60] ^= 1
    stranger = rotation.sign(rotation.propose(ring.stores[1]), [keys.new("root")])
    assert post(server, good, headers=server.token_for("read")).status_code == 403
    assert post(server, good, headers={"Authorization": "Bearer none"}).status_code == 401
    refused(post(server, ring.updates[1]), 422, "version", "does not follow version 1", "publish version 2 first")
    refused(post(server, stranger), 422, "unknown-key")
    refused(post(server, rotation.propose(ring.stores[1])), 422, "malformed", "1 to 8 signatures")
    refused(post(server, good[:-1]), 422, "malformed")
    refused(post(server, store.encode(ring.stores[1])), 422, "malformed")
    refused(post(server, dumps({1: 2})), 422, "malformed")
    refused(post(server, b""), 422, "malformed")
    refused(post(server, bytes(3000)), 413, "too-large")
    refused(server.http.post("/api/v1/trust", json={"update": "%%"}), 400, "invalid-body")
    refused(server.http.post("/api/v1/trust", json={}), 400, "invalid-body", "update")
    assert post(server, bytes(changed)).status_code == 422
    assert server.api("GET", "/trust")["version"] == 1
    assert post(server, good).status_code == 201
    fork = store.make([*ring.stores[0].keys, keys.new("command")], 2)
    refused(post(server, rotation.sign(rotation.propose(fork), [ring.root])), 422, "version")


def test_a_withdrawn_release_is_not_published_again(start, ring):
    server = start()
    old = releases.make(ring.release, "1.1.0", 2)
    server.publish(old)
    for update in ring.updates:
        post(server, update)
    refused(server.publish(old), 409, "withdrawn", "newer sequence")
    device = server.device("gw-new")
    assert server.shown("gw-new")["offer"] is None
    device.born("1.0.0", 1, _11=3)
    listed = server.api("GET", "/releases")["releases"]
    assert listed[0]["targets"]["unix"]["withdrawn"] is True


def test_data_of_a_dropped_key_is_withdrawn(start, ring):
    """As releases are; what the new key signs is offered once the device knows that key, and it is shown who does."""
    server = start()
    device, late = server.device("gw-data"), server.device("gw-late")
    for one in (device, late):
        one.born("1.0.0", 1, _12={})
    table, newer = b'{"gain": 1.0}', b'{"gain": 1.1}'
    for content in (table, newer):
        put = server.http.put(f"/api/v1/payloads/{hashlib.sha256(content).hexdigest()}", content=content)
        assert put.status_code == 201
    old = releases.make_data(ring.release, table, 2)
    assert server.http.post("/api/v1/data", json=old).status_code == 201
    kept = releases.make_data(ring.release, table, 2, name="model")
    assert server.http.post("/api/v1/data", json=kept).status_code == 201
    for one in (device, late):
        assert one.wait_heard("offer/calibration")[0] and one.wait_heard("offer/model")[0]

    assert post(server, ring.updates[0]).json()["withdrawn"] == []
    device.born("1.0.0", 1, _11=2, _12={})
    withdrawn = post(server, ring.updates[1]).json()["withdrawn"]
    assert [entry["name"] for entry in withdrawn] == ["calibration", "model"]
    assert withdrawn[0] == {"product": "tidegate-gateway", "version": "2.0", "board": "unix", "name": "calibration"}
    for one in (device, late):
        # Without a new birth nothing can come after it: both are behind with their trust stores.
        assert eventually(lambda one=one: one.wait_heard("offer/calibration")[-1] == b"")
        assert eventually(lambda one=one: one.wait_heard("offer/model")[-1] == b"")
    assert server.shown("gw-data")["data"]["calibration"]["offer"] is None
    assert {row["withdrawn"] for row in server.api("GET", "/data")["data"]} == {True}
    refused(server.http.post("/api/v1/data", json=old), 409, "withdrawn", "newer sequence")
    refused(server.http.post("/api/v1/data", json=releases.make_data(ring.release, newer, 3)), 422, "unknown-key")
    fresh = releases.make_data(ring.new_release, newer, 3)
    assert server.http.post("/api/v1/data", json=fresh).status_code == 201
    device.born("1.0.0", 1, _11=3, _12={})
    envelope = base64.b64decode(fresh["targets"]["unix"]["envelope"])
    assert eventually(lambda: device.wait_heard("offer/calibration")[-1] == envelope)

    states = {row["id"]: row["trust"] for row in server.api("GET", "/devices")["devices"]}
    assert states["gw-data"] == {"version": 3, "newest": 3, "state": "current"}
    assert states["gw-late"] == {"version": 1, "newest": 3, "state": "behind"}
    assert {row["id"]: row["trust"] for row in server.api("GET", "/status")["devices"]} == states
    token = server.data / "admin.token"
    options = ["--server", server.url, "--token-file", str(token)]
    listed = CliRunner().invoke(main, ["device", "list", *options], env={"COLUMNS": "200"})
    lines = {line.split()[0]: line for line in listed.output.splitlines() if line.strip()}
    assert "TRUST" in lines["DEVICE"] and "1 (behind)" in lines["gw-late"] and "(behind)" not in lines["gw-data"]
    shown = CliRunner().invoke(main, ["device", "show", "gw-late", *options], env={"COLUMNS": "200"})
    assert "behind" in shown.output, shown.output


def test_another_store_of_a_published_version_is_not_taken_at_the_start(start, ring, tmp_path):
    server = start()
    post(server, ring.updates[0])
    assert server.stop() == 0
    other = tmp_path / "other.cbor"
    other.write_bytes(store.encode(store.make([ring.release, ring.root], 2)))
    with pytest.raises(RuntimeError, match="another version 2 of the trust store was published"):
        ServerProcess(server.data, "--trust", str(other))


def test_a_server_without_a_trust_store_has_none_to_show(start):
    server = start(trusting=False)
    refused(server.http.get("/api/v1/trust"), 503, "no-trust-store", "--trust")
