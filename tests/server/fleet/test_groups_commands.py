"""`tidegate group`, `device move` and `rollout` at the command line, for people and for programs, against a server."""

from __future__ import annotations

import signed_releases as releases
from fleet_commands import asked, run
from server_process import eventually


def test_a_canary_group_from_its_making_to_the_rollout_for_all(start, ring):
    server = start()
    first = releases.make(ring.release, "1.0.0", 1)
    second = releases.make(ring.release, "1.1.0", 2, bases=(first["image"],))
    digest = bytes.fromhex(releases.digest(first["image"]))
    devices = [server.device(name) for name in ("gw-1", "gw-2", "gw-3")]
    for device in devices:
        device.born("1.0.0", 1, _6=digest)
    eventually(lambda: all(server.shown(device.id)["version"] for device in devices))
    server.publish(first)

    assert "follows channel candidate" in run(server, "group", "set", "canary", "--channel", "candidate")
    assert "gw-1, gw-2: now in group canary" in run(server, "device", "move", "gw-1", "gw-2", "--group", "canary")
    assert asked(server, "device", "move", "gw-2", "--group", "default")["name"] == "default"
    assert "there is no group nobody" in run(server, "device", "move", "gw-1", "--group", "nobody", code=1)
    assert "there is no device gw-9" in run(server, "device", "move", "gw-9", "--group", "canary", code=1)
    listed = {one["name"]: one for one in asked(server, "group", "list")}
    assert (listed["canary"]["channel"], listed["canary"]["devices"], listed["default"]["devices"]) == (
        "candidate",
        1,
        2,
    )
    assert "canary" in run(server, "group", "list") and "channel candidate" in run(server, "group", "list")

    server.publish(second)
    assert "no longer rolled out to channel stable" in run(
        server, "rollout", "stop", "1.1.0", "--channel", "stable", "--yes"
    )
    assert "add --yes" in run(server, "rollout", "start", "1.1.0", "--group", "canary", code=1)
    said = run(server, "rollout", "start", "1.1.0", "--group", "canary", "--yes")
    patch = len(next(data for data in second["payloads"].values() if data != second["image"]))
    assert f"a patch of {patch} bytes" in said and "nothing: its group follows the channel stable" in said
    assert "rolled out to group canary" in said
    shown = run(server, "group", "show", "canary")
    assert "release 1.1.0 of tidegate-gateway (pinned; channel candidate)" in shown and "gw-1" in shown
    assert "gw-2" not in shown and "1.1.0 " in shown
    assert "there is no group" in run(server, "group", "show", "nobody", code=1)

    devices[0].wait_heard("offer")
    devices[0].report(7, 2, 0, 8, verdict={5: 33, 7: 11}, detail="watchdog")
    eventually(lambda: asked(server, "rollout", "status", "1.1.0")["counts"]["failed"] == 1)
    status = asked(server, "rollout", "status", "1.1.0")
    assert [(one["id"], one["state"], one["why"]) for one in status["devices"]] == [("gw-1", "failed", "watchdog")]
    assert "watchdog" in run(server, "rollout", "status", "1.1.0")
    assert "pinned" in run(server, "group", "set", "canary", "--release", "1.0.0")
    assert "follows channel candidate" in run(server, "group", "set", "canary", "--follow")
    assert "name one" in run(server, "group", "set", "canary", "--follow", "--release", "1.0.0", code=2)
    assert "not both" in run(server, "rollout", "start", "1.1.0", "--group", "a", "--channel", "b", "--yes", code=2)

    assert "rolled out to channel stable" in run(server, "rollout", "start", "1.1.0", "--yes")
    told = asked(server, "rollout", "start", "1.1.0", "--channel", "stable", "--yes")
    assert told["started"] is False and {row["gets"] for row in told["plan"]} == {"patch", "nothing"}
    everything = {one["version"]: one for one in asked(server, "rollout", "status")}
    assert everything["1.1.0"]["channels"] == ["stable"] and everything["1.1.0"]["sequence"] == 2
    assert "1.1.0" in run(server, "rollout", "status")
    assert "No release of other is rolled out" in run(server, "rollout", "status", "--product", "other")
    assert "not published" in run(server, "rollout", "status", "7.7.7", code=1)
