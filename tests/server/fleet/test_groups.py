"""Groups, channels and rollouts: what a device is offered follows from its group; who may bring a release to whom."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
import signed_releases as releases
from root_ring import RootRing, post
from server_process import ServerProcess, document, eventually

PRODUCT = releases.PRODUCT


def change(server: ServerProcess, groups: Any = None, devices: Any = None, seen: str | None = None) -> httpx.Response:
    return server.http.post("/api/v1/groups", json={"seen": seen, "groups": groups or {}, "devices": devices or {}})


def publish(
    server: ServerProcess, release: dict[str, Any], channel: str | None = None, **kwargs: Any
) -> httpx.Response:
    for name, data in release["payloads"].items():
        server.api("PUT", f"/payloads/{name}", content=data)
    body = {**document(release), **({"channel": channel} if channel else {})}
    return server.http.post("/api/v1/releases", json=body, **kwargs)


def rollout(server: ServerProcess, act: str, version: str, where: dict[str, str], **kwargs: Any) -> httpx.Response:
    return server.http.post(f"/api/v1/rollouts/{PRODUCT}/{version}/{act}", json=where, **kwargs)


def offered(server: ServerProcess, device: str) -> tuple[str, str] | None:
    offer = server.shown(device)["offer"]
    return offer and (offer["version"], offer["state"])


@pytest.fixture
def fleet(start, ring) -> tuple[ServerProcess, dict[str, dict[str, Any]]]:
    """A server with four releases made, none published, and three registered devices, gw-a to gw-c."""
    server = start()
    made: dict[str, dict[str, Any]] = {}
    for sequence, version in enumerate(("1.0.0", "1.1.0", "1.2.0", "1.3.0"), 1):
        bases = (made["1.0.0"]["image"],) if made else ()
        made[version] = releases.make(ring.release, version, sequence, bases=bases)
    return server, made


def test_a_release_goes_to_groups_that_follow_its_channel(fleet):
    server, made = fleet
    stable, canary = server.device("gw-stable"), server.device("gw-canary")
    assert publish(server, made["1.0.0"]).json()["offered"] == 2, "published into stable, which all follow at first"
    canary.wait_heard("offer")
    assert change(server, {"canary": {"channel": "candidate"}}, {"gw-canary": "canary"}).is_success
    assert offered(server, "gw-canary") is None, "nothing stands in candidate yet"
    canary.wait_heard("offer", count=2)  # what is outdated before it is sent would be left out
    answer = publish(server, made["1.1.0"], "candidate").json()
    assert (answer["channel"], answer["offered"]) == ("candidate", 1)
    assert canary.wait_heard("offer", count=3) == [
        made["1.0.0"]["envelopes"]["unix"],
        b"",
        made["1.1.0"]["envelopes"]["unix"],
    ]
    assert stable.wait_heard("offer") == [made["1.0.0"]["envelopes"]["unix"]]
    told = rollout(server, "start", "1.1.0", {"channel": "stable"}).json()
    assert told["started"] and told["offers"] == 1 and told["channels"] == ["candidate", "stable"]
    assert stable.wait_heard("offer", count=2)[1] == made["1.1.0"]["envelopes"]["unix"]
    assert rollout(server, "start", "1.1.0", {"channel": "stable"}).json()["started"] is False
    assert offered(server, "gw-canary")[0] == "1.1.0", "promoting takes nothing away"
    server.register("gw-late")
    assert offered(server, "gw-late")[0] == "1.1.0"


def test_a_pinned_group_gets_its_release_and_nothing_older_than_it_runs(fleet):
    server, made = fleet
    device = server.device("gw-1")
    for version in ("1.0.0", "1.1.0", "1.2.0"):
        publish(server, made[version])
    assert change(server, {"held": {"release": {"product": PRODUCT, "version": "1.1.0"}}}).is_success
    assert change(server, devices={"gw-1": "held"}).is_success
    assert eventually(lambda: device.wait_heard("offer")[-1] == made["1.1.0"]["envelopes"]["unix"])
    device.born("1.1.0", 2)
    eventually(lambda: offered(server, "gw-1") == ("1.1.0", "running"))
    publish(server, made["1.3.0"])
    assert offered(server, "gw-1") == ("1.1.0", "running")
    assert rollout(server, "start", "1.0.0", {"group": "held"}).is_success
    assert offered(server, "gw-1") is None
    told = server.api("GET", f"/rollouts/{PRODUCT}/1.0.0")
    assert told["groups"] == ["held"] and told["counts"]["none"] == 1
    assert told["devices"][0]["why"] == "runs 1.1.0, which is newer"
    assert rollout(server, "stop", "1.0.0", {"group": "held"}).is_success
    assert offered(server, "gw-1")[0] == "1.3.0", "its channel counts again"
    # What it runs counts, not what it was offered: it was flashed with something older and says so.
    assert change(server, {"held": {"release": {"product": PRODUCT, "version": "1.0.0"}}}).is_success
    assert offered(server, "gw-1") is None
    device.born("0.9.0", 0)
    eventually(lambda: (o := offered(server, "gw-1")) and o[0] == "1.0.0")


def test_a_rollout_that_is_stopped_is_taken_back(fleet):
    server, made = fleet
    device, done = server.device("gw-1"), server.device("gw-done")
    for version in ("1.0.0", "1.1.0"):
        publish(server, made[version])
    device.born("1.0.0", 1)
    done.born("1.1.0", 2)
    eventually(lambda: offered(server, "gw-done") == ("1.1.0", "running") and server.shown("gw-1")["version"])
    assert rollout(server, "stop", "1.1.0", {"channel": "stable"}).is_success
    assert offered(server, "gw-1") == ("1.0.0", "running") and offered(server, "gw-done") is None
    assert eventually(lambda: device.wait_heard("offer")[-1] == made["1.0.0"]["envelopes"]["unix"])
    assert eventually(lambda: done.wait_heard("offer")[-1] == b"")
    again = rollout(server, "stop", "1.1.0", {"channel": "stable"})
    assert again.status_code == 409 and "rollout status" in again.json()["remedy"]
    assert publish(server, made["1.1.0"]).status_code == 200, "publishing again is no rollout"
    assert offered(server, "gw-1") == ("1.0.0", "running")
    assert rollout(server, "start", "1.1.0", {"channel": "stable"}).json()["offers"] == 2
    assert offered(server, "gw-done") == ("1.1.0", "running"), "it was not sent away from what it runs"


def test_rollouts_that_cannot_be(fleet):
    server, made = fleet
    publish(server, made["1.0.0"], "candidate")
    publish(server, made["1.1.0"])
    older = rollout(server, "start", "1.0.0", {"channel": "stable"})
    assert older.status_code == 409 and "rollout stop 1.1.0" in older.json()["remedy"]
    assert rollout(server, "start", "9.9.9", {"channel": "stable"}).status_code == 404
    assert rollout(server, "start", "1.1.0", {"group": "nobody"}).status_code == 404
    for body in ({}, {"channel": "stable", "group": "default"}, {"channel": "../x"}, {"channel": 7}, []):
        assert rollout(server, "start", "1.1.0", body).status_code == 400
    other = publish(server, made["1.0.0"], "stable")
    assert other.status_code == 409 and "rollout start 1.0.0 --channel stable" in other.json()["remedy"]


def test_withdrawn_releases_are_offered_by_no_group(start, tmp_path):
    """The key of all releases is dropped: no channel, no pin, no birth and no move brings one back."""
    ring = RootRing(tmp_path)
    server = start("--trust", str(ring.trust), trusting=False)
    device, held = server.device("gw-1"), server.device("gw-held")
    publish(server, releases.make(ring.release, "1.0.0", 1))
    publish(server, releases.make(ring.release, "1.1.0", 2))
    change(server, {"held": {"release": {"product": PRODUCT, "version": "1.0.0"}}}, {"gw-held": "held"})
    assert offered(server, "gw-1")[0] == "1.1.0" and offered(server, "gw-held")[0] == "1.0.0"
    for update in ring.updates:
        assert post(server, update).status_code == 201
    for client in (device, held):
        assert offered(server, client.id) is None
        client.born("0.9.0", 0, _11=3)
        eventually(lambda name=client.id: server.shown(name)["version"] == "0.9.0")
        assert offered(server, client.id) is None
    assert change(server, devices={"gw-held": "default", "gw-1": "held"}).is_success
    assert offered(server, "gw-1") is None and offered(server, "gw-held") is None
    for version, where in (("1.1.0", {"channel": "other"}), ("1.1.0", {"group": "held"})):
        assert rollout(server, "start", version, where).status_code == 404
    assert publish(server, releases.make(ring.new_release, "1.2.0", 3)).json()["offered"] == 1
    assert offered(server, "gw-held")[0] == "1.2.0" and offered(server, "gw-1") is None


def test_what_tokens_may(fleet, ring):
    server, made = fleet
    server.register("gw-1")
    change(server, {"canary": {"channel": "candidate"}})
    publisher, roller = server.token_for("publish"), server.token_for("rollout")
    assert publish(server, made["1.0.0"], headers=publisher).status_code == 201
    assert rollout(server, "start", "1.0.0", {"group": "canary"}, headers=publisher).status_code == 403
    pin = {"groups": {"canary": {"release": {"product": PRODUCT, "version": "1.0.0"}}}, "devices": {}, "seen": None}
    assert server.http.post("/api/v1/groups", json=pin, headers=publisher).status_code == 403
    for act in ("start", "stop", "start"):
        told = rollout(server, act, "1.0.0", {"group": "canary"}, headers=roller)
        assert told.is_success and told.json()["counts"] and "devices" not in told.json(), "it may not read"
    assert publish(server, made["1.1.0"], headers=roller).status_code == 403

    # A token for one channel cannot reach the devices that follow another, however it tries.
    limited = server.cli("token", "new", "--scope", "publish", "--channel", "candidate").stdout.strip()
    headers = {"Authorization": f"Bearer {limited}"}
    refused = publish(server, made["1.1.0"], headers=headers)
    assert refused.status_code == 403 and "--channel candidate" in refused.json()["remedy"]
    assert publish(server, made["1.1.0"], "stable", headers=headers).status_code == 403
    assert publish(server, made["1.1.0"], "candidate", headers=headers).status_code == 201
    assert offered(server, "gw-1")[0] == "1.0.0"
    # Nor by another board for a release that was brought to others.
    more = releases.make(ring.release, "1.1.0", 2, board="qemu_mps2")
    assert rollout(server, "start", "1.1.0", {"channel": "stable"}).is_success
    refused = publish(server, more, "candidate", headers=headers)
    assert refused.status_code == 403 and "rolled out to stable" in refused.json()["detail"]
    assert publish(server, more, "candidate", headers=publisher).status_code == 201
    for path in ("data", "trust"):
        assert server.http.post(f"/api/v1/{path}", json={}, headers=headers).status_code == 403
    planned = server.http.post("/api/v1/releases/plan", json=document(made["1.2.0"]), headers=headers)
    assert planned.status_code == 403


def test_the_plan_tells_what_each_device_would_get(fleet, ring):
    server, made = fleet
    for name in ("gw-old", "gw-odd", "gw-new", "gw-mute", "gw-held", "gw-else"):
        device = server.device(name)
        if name == "gw-old":
            device.born("1.0.0", 1, _6=bytes.fromhex(releases.digest(made["1.0.0"]["image"])))
        elif name != "gw-mute":
            device.born(*{"gw-new": ("2.0.0", 9)}.get(name, ("0.8.0", 1)))
    server.register("gw-m3", board="qemu_mps2")
    publish(server, made["1.0.0"])
    change(server, {"held": {"release": {"product": PRODUCT, "version": "1.0.0"}}}, {"gw-held": "held"})
    change(server, {"else": {"channel": "other"}}, {"gw-else": "else"})
    eventually(lambda: all(server.shown(f"gw-{n}")["version"] for n in ("old", "odd", "new", "held", "else")))
    body = document(made["1.1.0"])
    plan = server.api("POST", "/releases/plan", json=body)
    assert not plan["published"] and sorted(plan["missing"]) == sorted(made["1.1.0"]["payloads"])
    fates = {device: (row["gets"], row["bytes"], row["why"]) for row in plan["devices"] for device in row["ids"]}
    patch = next(len(data) for data in made["1.1.0"]["payloads"].values() if data != made["1.1.0"]["image"])
    assert fates == {
        "gw-old": ("patch", patch, None),
        "gw-odd": ("image", len(made["1.1.0"]["image"]), "no patch from what it runs"),
        "gw-new": ("nothing", 0, "runs a newer one"),
        "gw-mute": ("unknown", None, "has not said yet what it runs"),
        "gw-held": ("nothing", 0, "its group is pinned to 1.0.0"),
        "gw-else": ("nothing", 0, "its group follows the channel other"),
        "gw-m3": ("nothing", 0, "the release has no image for qemu_mps2"),
    }
    server.api("PUT", f"/payloads/{plan['missing'][0]}", content=made["1.1.0"]["payloads"][plan["missing"][0]])
    assert server.api("POST", "/releases/plan", json=body)["missing"] == plan["missing"][1:], (
        "asked again, one is there"
    )
    bare = server.http.post("/api/v1/releases/plan", json=body, headers=server.token_for("publish")).json()
    assert all("ids" not in row for row in bare["devices"]), "who may only publish is told numbers, not names"
    publish(server, made["1.1.0"])
    assert server.api("POST", "/releases/plan", json=body)["published"]
    older = document(releases.make(ring.release, "0.9.0", 1))
    assert server.http.post("/api/v1/releases/plan", json=older).status_code == 409
    # The plan told the truth.
    assert [n for n in ("old", "odd", "mute", "new", "held", "else", "m3") if offered(server, f"gw-{n}")] == [
        *("old", "odd", "mute"),
        "held",
    ]


def test_changes_are_whole_or_not_made_and_never_blind(fleet):
    server, made = fleet
    server.register("gw-1")
    publish(server, made["1.0.0"])
    seen = server.api("GET", "/groups")["digest"]
    for groups, devices in (
        ({"a": {"channel": "x"}, "b": {"release": {"product": PRODUCT, "version": "7.7"}}}, {}),
        ({"a": {"channel": "x"}}, {"gw-nobody": "a"}),
        ({"a": {"channel": "x"}}, {"gw-1": "nowhere"}),
    ):
        assert change(server, groups, devices).status_code == 404
        assert server.api("GET", "/groups")["digest"] == seen, "nothing of it was made"
    for groups in ({"A B": {}}, {"a": {"chanel": "x"}}, {"a": {"settings": []}}, {"a": {"release": "1.0"}}, {"a": 1}):
        assert change(server, groups).status_code == 400
    assert change(server, {"a": {"settings": {"k": "v" * 5000}}}).status_code == 400
    assert change(server, {"a": {"channel": "x", "settings": {"log_level": "debug"}}}, {"gw-1": "a"}, seen).is_success
    late = change(server, {"a": {"channel": "y"}}, seen=seen)
    assert late.status_code == 409 and "meanwhile" in late.json()["detail"]
    group = next(one for one in server.api("GET", "/groups")["groups"] if one["name"] == "a")
    assert group == {
        "name": "a",
        "channel": "x",
        "release": None,
        "settings": {"log_level": "debug"},
        "devices": 1,
    }
    acts = [(row["action"], row["subject"]) for row in server.api("GET", "/audit")["entries"]]
    assert ("group.set", "a") in acts and ("device.move", "gw-1") in acts
    assert server.api("GET", "/audit")["whole"]


def test_a_device_under_the_wrong_product_is_put_right(fleet, start):
    """It runs, sends telemetry, and nothing is ever offered to it, until somebody says what it is."""
    server, made = fleet
    server.register("gw-wrong", product="another-product")
    assert publish(server, made["1.1.0"]).status_code == 201 and offered(server, "gw-wrong") is None
    place = "/api/v1/devices/gw-wrong/product"
    put = server.http.put(place, json={"board": "unix", "product": PRODUCT})
    assert put.status_code == 200 and put.json()["product"] == PRODUCT
    assert offered(server, "gw-wrong")[0] == "1.1.0"  # waiting, or offered once the broker has it
    for body in ({"board": "unix"}, {"board": "unix", "product": "No Such"}, {"board": "", "product": PRODUCT}):
        assert server.http.put(place, json=body).status_code == 400
    acts = [one["action"] for one in server.api("GET", "/audit?limit=500")["entries"]]
    assert acts.count("device.product") == 1
    server.http.put(place, json={"board": "unix", "product": PRODUCT})
    assert [one["action"] for one in server.api("GET", "/audit?limit=500")["entries"]].count("device.product") == 1
    back = server.http.put(place, json={"board": "unix", "product": "another-product"})
    assert back.status_code == 200 and offered(server, "gw-wrong") is None
