"""`tidegate rollout` in waves at the command line, against a server and devices that report over MQTT."""

from __future__ import annotations

from pathlib import Path

import signed_releases as releases
from fleet_commands import asked, run
from server_process import KeyRing, ServerProcess, eventually

from tidegate.rollout import place

WATCHDOG = {5: 33, 7: 11}
NAMES = [f"gw-{number}" for number in range(1, 7)]


def _from_a_file(server: ServerProcess, folder: Path, ring: KeyRing) -> None:
    """What fleet.yaml declares is started, what it does not name is aborted with --prune only."""
    path = folder / "fleet.yaml"
    server.publish(releases.make(ring.release, "1.2.0", 3))
    run(server, "rollout", "stop", "1.2.0", "--channel", "stable", "--yes")
    text = "groups: {}\nrollouts:\n  1.2.0:\n    to: all\n    waves: '1,100%'\n    watch: [crashes]\n"
    path.write_text(text)
    assert "+ rollout 1.2.0 to all, waves 1,100%" in run(server, "diff", "-f", str(path), code=3)
    assert "Rolled out in waves: 1.2.0" in run(server, "apply", "-f", str(path), "--yes")
    assert "All is as" in run(server, "apply", "-f", str(path), "--yes")
    path.write_text(text.replace("1,100%", "2,100%"))
    assert "line 4: tidegate-gateway 1.2.0 is rolled out on other terms" in run(server, "diff", "-f", str(path), code=1)
    path.write_text(text.replace("waves", "wave"))
    assert "rollout 1.2.0 has no 'wave'" in run(server, "diff", "-f", str(path), code=1)
    path.write_text("groups: {}\nrollouts: {}\nslo: 1%/30d\n")
    assert "~ error budget of tidegate-gateway: none -> 1%/30d" in run(server, "diff", "-f", str(path), code=3)
    path.write_text("groups: {}\nslo: 1/30d\n")
    assert "line 2: slo: '1/30d' is not an error budget" in run(server, "diff", "-f", str(path), code=1)
    path.write_text("groups: {}\nrollouts: {}\nslo: 99%/1d\n")
    assert "- rollout 1.2.0 is under way" in run(server, "apply", "-f", str(path), "--yes")
    assert asked(server, "rollout", "why", "1.2.0")["state"] == "running"
    assert asked(server, "rollout", "slo")["slo"] == "99%/1d"
    run(server, "apply", "-f", str(path), "--prune", "--yes")
    assert asked(server, "rollout", "why", "1.2.0")["why"] == "fleet.yaml does not declare it"


def test_a_rollout_from_its_plan_to_its_breach_and_on(start, ring, tmp_path):
    server = start()
    first = releases.make(ring.release, "1.0.0", 1)
    second = releases.make(ring.release, "1.1.0", 2, bases=(first["image"],))
    digest = bytes.fromhex(releases.digest(first["image"]))
    devices = {name: server.device(name) for name in NAMES}
    for device in devices.values():
        device.born("1.0.0", 1, _6=digest)
    eventually(lambda: all(server.shown(name)["version"] for name in NAMES))
    server.publish(first)
    server.publish(second)
    words = ("1.1.0", "--to", "group=default", "--waves", "2,100%", "--soak", "0s", "--max-failures", "1")
    assert "stands in the channel stable" in run(server, "rollout", "start", *words, "--yes", code=1)
    run(server, "rollout", "stop", "1.1.0", "--channel", "stable", "--yes")
    eventually(lambda: all(server.shown(name)["offer"]["version"] == "1.0.0" for name in NAMES))

    assert run(server, "device", "label", "gw-1", "site=vienna", "batch=7").strip() == "gw-1: batch=7 site=vienna"
    assert asked(server, "device", "label", "gw-1", "batch=")["labels"] == {"site": "vienna"}
    assert "site=vienna" in run(server, "device", "label", "gw-1")
    assert "Use 1 to 32 of letters" in run(server, "device", "label", "gw-1", "a b=1", code=1)
    seventeen = {"labels": {f"k{n}": "v" for n in range(16)}}
    assert server.http.post("/api/v1/devices/gw-1/labels", json=seventeen).status_code == 409
    plan = asked(server, "rollout", "plan", "1.1.0", "--to", "label.site=vienna", "--waves", "100%")
    assert [row["ids"] for row in plan["rows"]] == [["gw-1"]]
    plan = asked(server, "rollout", "plan", *words)
    order = sorted(NAMES, key=lambda name: place(f"{releases.PRODUCT}/2", name))
    assert [(row["wave"], row["devices"], row["gets"]) for row in plan["rows"]] == [(1, 2, "patch"), (2, 4, "patch")]
    assert sorted(plan["rows"][0]["ids"]) == sorted(order[:2])
    assert "a patch of" in run(server, "rollout", "plan", *words)
    assert "not a wave" in run(server, "rollout", "plan", "1.1.0", "--waves", "none%", code=1)
    assert "--to group=NAME" in run(server, "rollout", "start", "1.1.0", "--group", "x", "--waves", "1%", code=2)
    assert "is not rolled out in waves" in run(server, "rollout", "why", "1.1.0", code=1)

    assert "is rolled out in waves to group=default" in run(server, "rollout", "start", *words, "--yes")
    for name in order[:2]:
        devices[name].wait_heard("offer", count=2)
    assert all(server.shown(name)["offer"]["version"] == "1.0.0" for name in order[2:])
    devices[order[0]].report(2, 2, 1, 0, progress=[1, 2])
    eventually(lambda: asked(server, "rollout", "status", "1.1.0")["counts"]["downloading"] == 1)
    assert "wave 1 of 2 (2): waits for 2 of 2 devices that are under way" in run(server, "rollout", "why", "1.1.0")
    for name in order[:2]:
        devices[name].born("1.1.0", 2)
    eventually(lambda: asked(server, "rollout", "status", "1.1.0")["wave"] == 2)
    for name in order[2:]:
        eventually(lambda name=name: server.shown(name)["offer"]["version"] == "1.1.0")
    shown = run(server, "rollout", "status", "1.1.0", "--devices")
    assert all(name in shown for name in NAMES) and "confirmed" in shown

    devices[order[2]].report(7, 2, 0, 8, verdict=WATCHDOG, detail="watchdog")
    devices[order[3]].report(7, 2, 0, 8, verdict=WATCHDOG, detail="watchdog")
    eventually(lambda: asked(server, "rollout", "why", "1.1.0")["state"] == "paused")
    assert "2 devices failed, and at most 1 may" in run(server, "rollout", "why", "1.1.0")
    assert devices[order[4]].wait_heard("offer", count=3)[-1] != second["envelopes"]["unix"], "it was withdrawn"
    failed = asked(server, "rollout", "status", "1.1.0", "--state", "rolled-back")["devices"]
    assert {one["id"] for one in failed} == set(order[2:4]) and failed[0]["why"] == "watchdog" and failed[0]["since"]
    assert "paused" in run(server, "rollout", "status")

    run(server, "rollout", "retry", "1.1.0")
    assert asked(server, "rollout", "status", "1.1.0")["counts"]["rolled-back"] == 0
    run(server, "rollout", "resume", "1.1.0", "--why", "a bad cable", "--yes")
    eventually(lambda: server.shown(order[5])["offer"]["version"] == "1.1.0")
    assert "is running; to resume it" in run(server, "rollout", "resume", "1.1.0", "--yes", code=1)
    run(server, "rollout", "promote", "1.1.0", "--yes")
    assert asked(server, "rollout", "why", "1.1.0")["state"] == "done"
    run(server, "rollout", "abort", "1.1.0", "--yes")
    _from_a_file(server, tmp_path, ring)
    kinds = [one["kind"] for one in asked(server, "rollout", "history", "1.1.0")]
    assert kinds == ["started", "wave", "paused", "retried", "resumed", "done", "aborted"], "what happened to 1.1.0"
    assert "a bad cable" in run(server, "rollout", "history", "1.1.0") and server.api("GET", "/audit")["whole"]
