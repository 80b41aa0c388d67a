#!/usr/bin/env python3
"""Boards in trouble by the hundred thousand: does any of them end bricked?

    python tests/survival/run.py [--runs 100000] [--seed N] [--jobs 2] [--only "torn cut"] [--json]
    python tests/survival/run.py --seed N --again NUMBER     one run once more, as it was

Bricked is a board that has a whole confirmed image and neither runs it nor anything newer; that runs bytes nobody
approved; whose sequence goes back though what it confirmed is whole; or that, after nothing but power cuts, does not
finish what it was doing. judge.py decides it from outside. docs/survival.md says what a run is and what it is not.

Exit code 0: none was; 1: one was, and is named; 130: interrupted, with the totals so far.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import os
import secrets
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

HERE = Path(__file__).resolve().parent
PIECE = 250  # runs a task
SHOWN = 20  # bricked runs that are named
ENDS = ("done", "kept", "safe mode", "bricked")


def place(root: Path) -> None:
    """Makes the firmware of this tree importable, and the simulator of its tests."""
    for folder in ("firmware/lib", "firmware", "tests/device/support"):
        sys.path.insert(0, str(root / folder))
    sys.path.insert(0, str(HERE))
    if Path("/dev/shm").is_dir():  # files and flash are made and torn by the thousand
        tempfile.tempdir = "/dev/shm"
    import check

    check.place(str(root), "cpython", {"slots": "rom"})


def _begin(root: Path) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent cancels what has not begun
    sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115 - what the loader says, for as long as the process lives
    place(root)


def _piece(task: tuple[int, int, int, str | None]) -> list[tuple[int, dict]]:
    import kinds

    seed, first, count, only = task
    return [(number, vars(kinds.run(seed, number, only))) for number in range(first, first + count)]


class Totals:
    """Adds outcomes up by kind."""

    def __init__(self) -> None:
        self.runs: Counter[str] = Counter()
        self.boots: Counter[str] = Counter()
        self.ends: dict[str, Counter[str]] = {}
        self.happened: dict[str, Counter[str]] = {}
        self.bricked: list[dict] = []

    def add(self, number: int, outcome: dict) -> None:
        """outcome: the members of a kinds.Outcome."""
        kind = outcome["kind"]
        self.runs[kind] += 1
        self.boots[kind] += outcome["boots"]
        self.ends.setdefault(kind, Counter())[outcome["end"]] += 1
        self.happened.setdefault(kind, Counter()).update(outcome["happened"])
        if outcome["end"] == "bricked":
            self.bricked.append({"run": number, **{name: outcome[name] for name in ("kind", "job", "why")}})

    def as_json(self, seed: int, seconds: float) -> dict:
        return {
            "seed": seed,
            "seconds": round(seconds, 1),
            "runs": self.runs.total(),
            "boots": self.boots.total(),
            "bricked": len(self.bricked),
            "kinds": {
                kind: {
                    "runs": self.runs[kind],
                    "boots": self.boots[kind],
                    "ends": {end: self.ends[kind][end] for end in ENDS},
                    "happened": dict(sorted(self.happened[kind].items())),
                }
                for kind in sorted(self.runs)
            },
            "which": sorted(self.bricked, key=lambda one: one["run"])[:SHOWN],
        }


def show(found: dict) -> None:
    print(
        f"{'kind':18} {'runs':>8} {'boots':>9} {'done':>8} {'kept':>7} {'safe mode':>9} {'bricked':>7}  what happened"
    )
    for kind, one in found["kinds"].items():
        ends = one["ends"]
        happened = ", ".join(f"{count:,} {what}" for what, count in one["happened"].items())
        print(f"{kind:18} {one['runs']:8,} {one['boots']:9,} {ends['done']:8,} {ends['kept']:7,} "
              f"{ends['safe mode']:9,} {ends['bricked']:7,}  {happened}")  # fmt: skip
    for one in found["which"]:
        print(f"BRICKED run {one['run']} ({one['kind']}; {one['job']}): {one['why']}")
    print(f"{found['runs']:,} runs, {found['boots']:,} boots, {found['bricked']} bricked, seed {found['seed']}, "
          f"{found['seconds']:.0f} s")  # fmt: skip


def outcomes(root: Path, runs: int, seed: int, jobs: int, only: str | None) -> Iterator[list[tuple[int, dict]]]:
    tasks = [(seed, first, min(PIECE, runs - first), only) for first in range(0, runs, PIECE)]
    # Turns with slots in files first to last, as numbers say; a worker that changes between both makes a world anew.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(jobs, mp_context=context, initializer=_begin, initargs=(root,))
    try:
        for piece in as_completed([pool.submit(_piece, task) for task in tasks]):
            yield piece.result()
    finally:
        # Interrupted, it lets what runs come to its end, a piece of a second: processes that are ended at whatever
        # they do, as multiprocessing.Pool ends its own, may have a lock in hand that others wait for.
        pool.shutdown(cancel_futures=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=100_000)
    parser.add_argument("--seed", type=int, help="default: another each time")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes (default: one a core)")
    parser.add_argument("--only", metavar="KIND", help="one kind of trouble")
    parser.add_argument("--again", type=int, metavar="NUMBER", help="do one run of this seed again, and show the board")
    parser.add_argument("--json", action="store_true", help="print the totals as JSON")
    parser.add_argument("--root", type=Path, default=HERE.parent.parent, help="the tree whose firmware is tried")
    asked = parser.parse_args()
    seed = secrets.randbelow(1_000_000) if asked.seed is None else asked.seed
    if asked.again is not None:
        place(asked.root)
        import kinds

        outcome = kinds.run(seed, asked.again, asked.only)
        print(f"{outcome.kind}; {outcome.job}: {outcome.end} after {outcome.boots} boots {outcome.why}")
        return outcome.end == "bricked"
    totals, began, interrupted = Totals(), time.monotonic(), False
    progress = None if asked.json or not sys.stderr.isatty() else sys.stderr
    stream = outcomes(asked.root, asked.runs, seed, max(1, asked.jobs), asked.only)
    try:
        for piece in stream:
            for number, outcome in piece:
                totals.add(number, outcome)
            if progress:
                done = totals.runs.total()
                print(f"\r{done:,} of {asked.runs:,}, {len(totals.bricked)} bricked", end="", file=progress, flush=True)
    except KeyboardInterrupt:
        interrupted = True
        with contextlib.suppress(KeyboardInterrupt):
            stream.close()
    if progress:
        print(file=progress)
    found = totals.as_json(seed, time.monotonic() - began)
    if asked.json:
        print(json.dumps({**found, "interrupted": interrupted}, indent=1))
    else:
        show(found)
    if totals.bricked:
        return 1
    return 130 if interrupted else 0


if __name__ == "__main__":
    sys.exit(main())
