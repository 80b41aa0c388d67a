"""Rollouts of simulated fleets with planted faults, through a real server: where they stop, and that they do not else.

The scenarios are those of docs/scenarios, with fewer devices and so with larger waves.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from server_process import ServerProcess
from simulate_process import Simulation

from tidegate.trust import keys

SCENARIOS = Path(__file__).parents[3] / "docs" / "scenarios"
DEVICES = 300
ENDS = {"leak": {1}, "rolls-back": {1, 2, 3}, "healthy": {3}, "bad-link": {3}}  # the wave in which it may end
WHY = {"leak": "heap<5%: ", "rolls-back": "devices failed", "healthy": "done", "bad-link": "done"}


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
