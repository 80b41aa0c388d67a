"""fleet.yaml with rollouts of a data component and of a trust store beside one of a release: plan, apply, prune."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

import signed_releases as releases
from fleet_commands import asked, run
from root_ring import RootRing
from server_process import ServerProcess, eventually

NAMES = [f"gw-{number}" for number in range(1, 5)]
WITHOUT_DATA = "gw-4"
FILE = """\
groups: {{}}
rollouts:
  maps@7.0:
    to: all
    waves: {waves}
    soak: 0s
  "trust@2":
    to: device=gw-1
    waves: 100%
"""


def _publish(server: ServerProcess, ring: RootRing, sequence: int) -> None:
    """maps@N, held back."""
    content = b"the streets of Vienna, version %d" % sequence
    digest = hashlib.sha256(content).hexdigest()
    assert server.http.put(f"/api/v1/payloads/{digest}", content=content).status_code == 201
    document = releases.make_data(ring.release, content, sequence, "maps")
    server.api("POST", "/data", json={**document, "hold": True})


def test_what_the_file_declares_is_planned_started_and_ended(start, tmp_path: Path) -> None:
    ring = RootRing(tmp_path)
    server = start("--trust", str(ring.trust), trusting=False)
    devices = {name: server.device(name) for name in NAMES}
    for name, device in devices.items():
        device.born("1.0.0", 1, **({} if name == WITHOUT_DATA else {"_12": {}}))
    eventually(lambda: all(server.shown(name)["version"] for name in NAMES))
    path = tmp_path / "fleet.yaml"
    words = ("-f", str(path))

    path.write_text(FILE.format(waves="1,100%").replace("groups: {}", "groups: {new: {}}"))
    assert "line 4: version 7.0 of the data component maps" in run(server, "apply", *words, "--yes", code=1)
    assert "new" not in [group["name"] for group in server.api("GET", "/groups")["groups"]], "nothing is half done"
    path.write_text(FILE.format(waves="1,100%"))
    _publish(server, ring, 7)
    update = {"update": base64.b64encode(ring.updates[0]).decode(), "hold": True}
    assert server.http.post("/api/v1/trust", json=update).status_code == 201
    plan = asked(server, "rollout", "plan", "maps@7.0", "--to", "all", "--waves", "1,100%")
    assert plan["excused"] == {"its application has no data components": 1}
    assert [(row["wave"], row["devices"], row["gets"]) for row in plan["rows"]] == [(1, 1, "data"), (2, 2, "data")]
    first = plan["rows"][0]["ids"][0]

    shown = run(server, "diff", *words, code=3)
    assert (
        "+ rollout maps@7.0 to all, waves 1,100%" in shown and "+ rollout trust@2 to device=gw-1, waves 100%" in shown
    )
    assert "Rolled out in waves: maps@7.0 trust@2" in run(server, "apply", *words, "--yes")
    assert devices[first].wait_heard("offer/maps") and devices["gw-1"].wait_heard("trust") == [ring.updates[0]]
    assert "All is as" in run(server, "apply", *words, "--yes")
    state = asked(server, "rollout", "status", "maps@7.0", "--devices")
    of = {one["id"]: (one["state"], one["why"]) for one in state["devices"]}
    assert of[WITHOUT_DATA] == ("excused", "its application has no data components")
    assert sorted(state for state, _ in of.values()) == ["excused", "offered", "waiting", "waiting"]

    path.write_text(FILE.format(waves="2,100%"))
    assert "line 4: tidegate-gateway maps@7.0 is rolled out on other terms" in run(server, "diff", *words, code=1)
    path.write_text(FILE.format(waves="1,100%").replace("maps@7.0", "maps@"))
    assert "line 4: " in run(server, "diff", *words, code=1)
    assert asked(server, "rollout", "why", "maps@7.0")["state"] == "running"

    path.write_text("groups: {}\nrollouts: {}\n")
    shown = run(server, "apply", *words, "--yes")
    assert "- rollout maps@7.0 is under way" in shown and "- rollout trust@2 is under way" in shown
    assert asked(server, "rollout", "why", "trust@2")["state"] == "running"
    run(server, "apply", *words, "--prune", "--yes")
    for version in ("maps@7.0", "trust@2"):
        answer = asked(server, "rollout", "why", version)
        assert (answer["state"], answer["why"]) == ("aborted", "fleet.yaml does not declare it")
    assert devices[first].wait_heard("offer/maps", count=2)[-1] == b"", "its offer is taken back"
    path.write_text(FILE.format(waves="1,100%"))
    assert "All is as" in run(server, "diff", *words), "what was aborted is not started again"
