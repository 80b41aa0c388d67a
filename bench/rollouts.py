#!/usr/bin/env python3
"""Rollouts in waves of simulated fleets on one machine: does one stop where it has to, and only there?

    python bench/rollouts.py [--devices N] [--scenario NAME ...] [--seeds 1-20] [--jobs 4] [--rate PACKS] [--json]

`tidegate simulate` plays the scenarios of docs/scenarios, each against a `tidegate serve` of its own with the broker
inside, which holds 2,000 connections, its own among them. A rollout soaks for most of its time, so several runs go side
by side (--jobs). One line a run: the state, the wave, the sentence, how many devices had it by then, and the processor
time of the server and of the simulator; at the end one line a scenario. Exit code 1: one ended otherwise than its
scenario says. A run takes three minutes where the rollout pauses early, and six where it goes through, on a machine
that has a processor for it.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / folder) for folder in ("", "tests/server/support", "tests/faults/support", "tools", "bench")]

from fleet import Line, progress  # noqa: E402
from killable_server import KillableServer  # noqa: E402
from root_ring import RootRing  # noqa: E402

from tidegate.interrupts import INTERRUPTED  # noqa: E402
from tidegate.simulate import accounts, run, scenario  # noqa: E402
from tidegate.trust import keys  # noqa: E402

SCENARIOS = ROOT / "docs/scenarios"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--devices", type=int, default=300)
    known = sorted(path.stem for path in SCENARIOS.glob("*.toml"))
    parser.add_argument("--scenario", nargs="+", choices=known, default=known)
    parser.add_argument("--seeds", type=seeds, default=[1], help="numbers with commas between, or from-to")
    parser.add_argument("--jobs", type=int, default=1, help="runs side by side")
    parser.add_argument("--rate", type=float, help="packs a second, in place of the scenario's 200")
    parser.add_argument("--waves", help="in place of those of the scenario")
    parser.add_argument("--json", action="store_true", help="one document a run, as `tidegate simulate --json`")
    options = parser.parse_args()
    todo = [(name, seed) for seed in options.seeds for name in options.scenario]
    ended: list[tuple[str, dict[str, Any]]] = []
    runs = one_by_one(todo, options) if options.jobs == 1 else side_by_side(todo, options)
    for name, document in runs:
        ended.append((name, document))
        print(json.dumps(document) if options.json else line(name, document), flush=True)
        if document["interrupted"]:
            return INTERRUPTED
    if not options.json:
        print("\n".join(summary(name, [one for of, one in ended if of == name]) for name in options.scenario))
    return 0 if len(ended) == len(todo) and all(is_right(document) for _, document in ended) else 1


def seeds(text: str) -> list[int]:
    """[1, 2, 3, 7] of "1-3,7"."""
    found: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        found += range(int(first), int(last or first) + 1)
    return found


def one_by_one(todo: list[tuple[str, int]], options: argparse.Namespace) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, seed in todo:
        with tempfile.TemporaryDirectory(prefix="tidegate-rollouts-") as folder:
            yield name, simulate(Path(folder), name, seed, options)


def side_by_side(todo: list[tuple[str, int]], options: argparse.Namespace) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each run in a process of its own, which Ctrl-C reaches by itself; as they end."""
    stopping = threading.Event()
    with ThreadPoolExecutor(options.jobs) as pool:
        going = {pool.submit(apart, name, seed, options, stopping): name for name, seed in todo}
        try:
            for done in as_completed(going):
                document = done.result()
                if document is not None:
                    yield going[done], document
        except (KeyboardInterrupt, GeneratorExit):
            stopping.set()
            pool.shutdown(cancel_futures=True)
            raise


def apart(name: str, seed: int, options: argparse.Namespace, stopping: threading.Event) -> dict[str, Any] | None:
    """The document of one run in another process; None where it ended without one: it has said why."""
    if stopping.is_set():
        return None
    words = ["--scenario", name, "--seeds", str(seed), "--devices", str(options.devices), "--json"]
    words += ["--rate", str(options.rate)] if options.rate else []
    words += ["--waves", options.waves] if options.waves else []
    process = subprocess.Popen(
        [sys.executable, __file__, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None and process.stdout is not None
    for said in process.stderr:
        print(f"{name} {seed}: {said.rstrip()}", file=sys.stderr, flush=True)
    text = process.stdout.read()
    process.wait()
    return json.loads(text) if text.strip() else None


def simulate(folder: Path, name: str, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """The document of `tidegate simulate`."""
    ring = RootRing(folder)
    keys.save(ring.release, folder / "release.jwk")
    keys.save(ring.root, folder / "root.jwk")
    text = (SCENARIOS / f"{name}.toml").read_text()
    text = text.replace("1%,10%,50%,100%", options.waves) if options.waves else text
    text = text.replace("rate = 200\n", f"rate = {options.rate}\n") if options.rate else text
    (folder / "scenario.toml").write_text(text)
    course = scenario.read(folder / "scenario.toml").model_copy(update={"seed": seed})
    # All devices are at one address here, which without a proxy may have 250 connections.
    server = KillableServer(folder / "data", "--trust", str(ring.trust), "--trusted-proxy", "127.0.0.1").start()
    try:
        with server.client() as api:
            accounts.prepare(
                api, accounts.names("sim", options.devices), course.fleet, folder / "devices.json", progress
            )
        setting = run.Setting(
            server=server.url,
            token=server.token,
            devices=options.devices,
            accounts=folder / "devices.json",
            broker=f"mqtt://127.0.0.1:{server.mqtt_port}",
            trust=ring.trust,
            watched={"server": server.process.pid},
        )
        return run.run(setting, course, run.Ears(line=Line().show))
    finally:
        server.stop()


def rollouts(document: dict[str, Any]) -> list[dict[str, Any]]:
    """The phases that were rollouts and began; none if the run did not come there."""
    return [phase for phase in document["phases"] if phase["kind"] == "rollout" and "wave" in phase]


def is_right(document: dict[str, Any]) -> bool:
    return bool(rollouts(document)) and all(phase["complete"] for phase in rollouts(document))


def cpu(document: dict[str, Any], process: str) -> float:
    """Seconds of processor time of the server, or of the simulator, in the whole run."""
    used = (phase["processes"] for phase in document["phases"])
    return sum(float(usage["cpu_s"]) for phase in used for name, usage in phase.items() if name.startswith(process))


def line(name: str, document: dict[str, Any]) -> str:
    verdict = "right" if is_right(document) else "WRONG"
    told = "; ".join(map(course, rollouts(document)))
    told = told or "; ".join(run.failed(document))
    spent = f"CPU {cpu(document, 'server'):.0f} + {cpu(document, 'simulator'):.0f} s"
    return f"{name} seed {document['seed']}: {verdict}: {told}; {spent}"


def course(phase: dict[str, Any]) -> str:
    """How one rollout went."""
    opened = ", ".join(f"{phase.get(f'wave_{wave}_s', 0):.0f}" for wave in range(1, phase["wave"] + 1))
    counts = ", ".join(f"{many} {state}" for state, many in phase["states"].items())
    return f"{phase['ended']} [{counts}; waves at {opened} s of {phase['seconds']:.0f}]"


def summary(name: str, documents: list[dict[str, Any]]) -> str:
    """Of all seeds of a scenario."""
    found = [phase for document in documents for phase in rollouts(document)]
    if not found:
        return f"{name}: no rollout began"
    ends = Counter(f"{phase['state']} in wave {phase['wave']}" for phase in found)
    seconds = statistics.median(float(phase["seconds"]) for phase in found)
    words = ", ".join(f"{many} {how}" for how, many in sorted(ends.items()))
    right = sum(map(is_right, documents))
    return f"{name}: {right} of {len(documents)} right: {words}; median {seconds:.0f} s"


if __name__ == "__main__":
    sys.exit(main())
