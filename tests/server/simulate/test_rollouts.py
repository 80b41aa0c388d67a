"""Rollouts of simulated fleets with planted faults, through a real server: where they stop, and that they do not else.

The long ones are those of docs/scenarios, with fewer devices and so with larger waves. The quick one has data and trust
stores go out in waves to a small fleet.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from root_ring import RootRing
from server_process import ServerProcess
from simulate_process import Simulation

from tidegate.trust import keys

SCENARIOS = Path(__file__).parents[3] / "docs" / "scenarios"
DEVICES = 300
ENDS = {"leak": {1}, "rolls-back": {1, 2, 3}, "healthy": {3}, "bad-link": {3}}  # the wave in which it may end
WHY = {"leak": "heap<5%: ", "rolls-back": "devices failed", "healthy": "done", "bad-link": "done"}

SMALL = 30
WITH_DATA = """\
seed = 3

[fleet]
data = "maps"
image_bytes = 5000
sign_s = 1

[misbehaving]
rolls_back = 0.1

[update]
apply_s = 0.1
restart_s = 0.1
trial_s = 0.1

[[phases]]
kind = "connect"
over_s = 1

[[phases]]
name = "maps"
kind = "rollout"
of = "data"
key = "release.jwk"
waves = "5,100%"
soak = "0s"
max_failures = "50%"
ends = "done"

[[phases]]
name = "store"
kind = "rollout"
of = "trust"
key = "root.jwk"
store = "trust.cbor"
waves = "5,100%"
soak = "0s"
max_failures = "0"
ends = "done"

[[phases]]
name = "more maps"
kind = "rollout"
of = "data"
key = "release.jwk"
waves = "100%"
soak = "0s"
max_failures = "1"
ends = "paused"
"""


def test_data_and_trust_stores_go_out_in_waves(start: Callable[..., ServerProcess], tmp_path: Path) -> None:
    ring = RootRing(tmp_path)
    keys.save(ring.release, tmp_path / "release.jwk")
    keys.save(ring.root, tmp_path / "root.jwk")
    server = start("--trust", str(ring.trust), trusting=False)
    words = ("--devices", str(SMALL), "--trust", str(ring.trust))
    figures = Simulation(tmp_path, server, WITH_DATA, *words).ends()
    maps, store, more = figures["phases"][1:]
    bad = figures["faults"]["rolls_back"]
    assert bad >= 2, "the seed has some that refuse what they are given"
    assert (maps["version"], maps["wave"]) == ("maps@1", 2) and maps["counts"]["data_rolled_back"] == bad
    assert maps["states"] == {"confirmed": SMALL - bad, "rolled-back": bad}
    assert (store["version"], store["states"]) == ("trust@2", {"confirmed": SMALL})
    assert more["version"] == "maps@2" and f"{bad} devices failed" in more["why"], more
    names = [one["id"] for one in server.api("GET", "/devices", params={"limit": 500})["devices"]]
    shown = [server.shown(name) for name in names]
    assert {one["trust"]["version"] for one in shown} == {2} and {one["sequence"] for one in shown} == {1}
    assert sum(one["data"]["maps"]["sequence"] is None for one in shown) == bad, "who refused it holds nothing"


@pytest.mark.soak
@pytest.mark.skipif(not os.environ.get("TIDEGATE_FULL"), reason="make soak: each fleet takes two minutes and more")
@pytest.mark.parametrize("name", list(ENDS))
def test_a_rollout_ends_as_it_has_to(start: Callable[..., ServerProcess], tmp_path: Path, ring, name: str) -> None:
    keys.save(ring.release, tmp_path / "release.jwk")
    text = (SCENARIOS / f"{name}.toml").read_text().replace("1%,10%,50%,100%", "10%,50%,100%")
    assert "10%,50%,100%" in text
    server = start("--trusted-proxy", "127.0.0.1")  # all devices are at one address
    figures = Simulation(tmp_path, server, text, "--devices", str(DEVICES)).ends(timeout_s=1800)
    rollout = figures["phases"][-1]
    assert rollout["complete"] and rollout["wave"] in ENDS[name] and WHY[name] in rollout["why"], rollout
    if name == "leak":
        assert rollout["states"]["confirmed"] <= DEVICES // 5, "who was not reached is as before"
