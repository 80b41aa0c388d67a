#!/usr/bin/env python3
"""Rollouts in waves of a simulated fleet on one machine: does one stop where it has to, and only there?

    python bench/rollouts.py [--devices N] [--scenario NAME ...] [--seeds 1,2] [--json]

`tidegate simulate` plays the scenarios of docs/scenarios against a `tidegate serve` of its own, with the broker inside,
which holds 2,000 connections, its own among them. One line a run: the state, the wave, the sentence, and how many
devices had the release by then. Exit code 1: one ended otherwise than its scenario says. A run takes three minutes
where the rollout pauses early, and eight where it goes through.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / folder) for folder in ("", "tests/server/support", "tests/faults/support", "tools", "bench")]

from fleet import Line, progress  # noqa: E402
from killable_server import KillableServer  # noqa: E402
from server_process import KeyRing  # noqa: E402

from tidegate.interrupts import INTERRUPTED  # noqa: E402
from tidegate.simulate import accounts, run, scenario  # noqa: E402
from tidegate.trust import keys  # noqa: E402

SCENARIOS = ROOT / "docs/scenarios"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--devices", type=int, default=300)
    known = sorted(path.stem for path in SCENARIOS.glob("*.toml"))
    parser.add_argument("--scenario", nargs="+", choices=known, default=known)
    parser.add_argument("--seeds", default="1", help="numbers with commas between")
    parser.add_argument("--waves", help="in place of those of the scenario")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    right = True
    for name in options.scenario:
        for seed in options.seeds.split(","):
            with tempfile.TemporaryDirectory(prefix="tidegate-rollouts-") as folder:
                document = simulate(Path(folder), name, int(seed), options.devices, options.waves)
            if document["interrupted"]:
                return INTERRUPTED
            right = right and ended(document)["complete"]
            print(json.dumps(document) if options.json else line(name, int(seed), document), flush=True)
    return 0 if right else 1


def simulate(folder: Path, name: str, seed: int, devices: int, waves: str | None) -> dict[str, Any]:
    """The document of `tidegate simulate`."""
    ring = KeyRing(folder)
    keys.save(ring.release, folder / "release.jwk")
    text = (SCENARIOS / f"{name}.toml").read_text()
    (folder / "scenario.toml").write_text(text.replace("1%,10%,50%,100%", waves) if waves else text)
    course = scenario.read(folder / "scenario.toml").model_copy(update={"seed": seed})
    # All devices are at one address here, which without a proxy may have 250 connections.
    server = KillableServer(folder / "data", "--trust", str(ring.trust), "--trusted-proxy", "127.0.0.1").start()
    try:
        with server.client() as api:
            accounts.prepare(api, accounts.names("sim", devices), course.fleet, folder / "devices.json", progress)
        setting = run.Setting(
            server=server.url,
            token=server.token,
            devices=devices,
            accounts=folder / "devices.json",
            broker=f"mqtt://127.0.0.1:{server.mqtt_port}",
            watched={"server": server.process.pid},
        )
        return run.run(setting, course, run.Ears(line=Line().show))
    finally:
        server.stop()


def ended(document: dict[str, Any]) -> dict[str, Any]:
    """The phase that was the rollout."""
    return next(phase for phase in document["phases"] if phase["kind"] == "rollout")


def line(name: str, seed: int, document: dict[str, Any]) -> str:
    rollout = ended(document)
    if "wave" not in rollout:
        return f"{name} seed {seed}: WRONG: {rollout['ended']}: {document['filed']}"
    opened = ", ".join(f"{wave} after {rollout[f'wave_{wave}_s']:.0f} s" for wave in range(1, rollout["wave"] + 1))
    counts = ", ".join(f"{many} {state}" for state, many in rollout["states"].items())
    verdict = "right" if rollout["complete"] else "WRONG"
    return f"{name} seed {seed}: {verdict}: {rollout['ended']} [{counts}; waves {opened}; {rollout['seconds']:.0f} s]"


if __name__ == "__main__":
    sys.exit(main())
