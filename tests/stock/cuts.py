#!/usr/bin/env python3
"""Power cuts at the programs and erases of the Pico's own flash driver, on an emulated RP2040.

    .venv/bin/python tests/stock/cuts.py [--runs 1000] [--seed N] [--jobs 2] [--json]
    .venv/bin/python tests/stock/cuts.py --seed N --again NUMBER     one run once more, as it was

A run is one cut of one of two jobs (pico_job.py): before a step, inside of it (as tests/survival/torn_flash.py tears),
or after it; every fourth cuts a second time, in what follows. Then the board gets its power back and must come to the
job's end by itself; what was confirmed before the cut must run after it. A run takes ten to 25 s of a processor.

Exit code 0: all came to their end; 1: one did not, and is named; 130: interrupted, with the totals so far.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
import multiprocessing
import os
import random
import secrets
import signal
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import cache
from pathlib import Path

HERE = Path(__file__).resolve().parent
if __name__ == "__main__":
    sys.path[:0] = [str(HERE / "support"), str(HERE.parent / "survival")]

import pico_job  # noqa: E402
import torn_flash  # noqa: E402
from pico import Pico, PicoError  # noqa: E402
from pico_job import BAD, GOOD, Step  # noqa: E402

AGAIN = 4  # every so many runs are cut twice
TOLD = 10  # runs between two lines of progress where there is no terminal


@dataclass(frozen=True)
class Job:
    """release: what is installed; flash: before it; steps: of the driver, in their order; said: by the console."""

    release: int
    flash: bytes
    steps: tuple[Step, ...]
    said: str


@cache
def job(release: int, firmware: Path = pico_job.FIRMWARE) -> Job:
    """Prepared and done once, without a cut."""
    flash = pico_job.prepared(release, firmware)
    steps, said = pico_job.steps(flash, release, firmware)
    return Job(release, flash, tuple(steps), said)


def torn(old: bytes, step: Step, shape: str, chance: random.Random) -> bytes:
    """What is at the step's place after a cut; shape: "before", "after", or one of torn_flash."""
    if shape == "before":
        return old
    if shape == "after":
        return step.after
    if step.kind == "erase":
        return torn_flash.erase(old, shape, chance)
    return torn_flash.program(old, step.after, shape, chance)


def shapes(step: Step) -> tuple[str, ...]:
    return ("before", *(torn_flash.ERASES if step.kind == "erase" else torn_flash.PROGRAMS), "after")


def cut(one: Job, index: int, shape: str, chance: random.Random) -> bytearray:
    """The flash after a cut at one step of the job."""
    now = bytearray(one.flash)
    for step in one.steps[:index]:
        now[step.at : step.at + len(step.after)] = step.after
    step = one.steps[index]
    end = step.at + len(step.after)
    now[step.at : end] = torn(bytes(now[step.at : end]), step, shape, chance)
    return now


class _CutAgain(Exception):
    pass


def recover(
    one: Job, flash: bytearray, confirmed: bool, chance: random.Random, again: bool, firmware: Path = pico_job.FIRMWARE
) -> int:
    """Power comes back; the board must come to the job's end. Returns how often the power was cut on the way; raises
    PicoError.
    """
    cuts = 0
    if again:
        found, said = pico_job.steps(bytes(flash), one.release, firmware)
        if found:
            index = chance.randrange(len(found))
            rest = Job(one.release, bytes(flash), tuple(found), said)
            flash = cut(rest, index, chance.choice(shapes(found[index])), chance)
            confirmed = confirmed or found[index].confirmed
            cuts = 1
    board = Pico(firmware, bytes(flash))
    board.run(r"app: release \d.*\n|safe mode.*\n", 60)
    if "safe mode" in board.said or (confirmed and "app: release 1" in board.said):
        raise PicoError(f"after the cut it said:\n{board.said}")
    pico_job.finish(board, one.release)
    return cuts


def run(seed: int, number: int) -> dict[str, object]:
    """One run: {"run", "release", "step", "kind", "shape", "cuts", "failed"}; failed is "" or what went wrong."""
    chance = random.Random(f"{seed} {number}")
    one = job(chance.choice((GOOD, BAD)))
    index = chance.randrange(len(one.steps))
    step = one.steps[index]
    shape = chance.choice(shapes(step))
    found: dict[str, object] = {
        "run": number, "release": one.release, "step": index, "kind": step.kind, "shape": shape,
        "cuts": 1, "failed": "",
    }  # fmt: skip
    flash = cut(one, index, shape, chance)
    try:
        found["cuts"] = 1 + recover(one, flash, step.confirmed, chance, number % AGAIN == AGAIN - 1)
    except PicoError as error:
        found["failed"] = str(error)
    gc.collect()  # a board is a circle of objects with megabytes in them, and few enough for the collector to wait
    return found


def _begin() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent cancels what has not begun
    os.nice(10)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--seed", type=int, help="default: another each time")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes (default: one a core)")
    parser.add_argument("--again", type=int, metavar="NUMBER", help="do one run of this seed again")
    parser.add_argument("--json", action="store_true", help="print the totals as JSON")
    asked = parser.parse_args()
    if not pico_job.FIRMWARE.is_file():
        print("cuts: there is no firmware; build it: make -C boards/rpi_pico", file=sys.stderr)
        return 2
    seed = secrets.randbelow(1_000_000) if asked.seed is None else asked.seed
    if asked.again is not None:
        found = run(seed, asked.again)
        print(json.dumps(found, indent=1))
        return bool(found["failed"])
    began, interrupted = time.monotonic(), False
    kinds: Counter[str] = Counter()
    failed: list[dict[str, object]] = []
    context = multiprocessing.get_context("fork")
    for release in (GOOD, BAD):  # once, for all that are forked from here
        one = job(release)
        print(f"release {release}: {len(one.steps)} programs and erases", file=sys.stderr)
    pool = ProcessPoolExecutor(max(1, asked.jobs), mp_context=context, initializer=_begin)
    try:
        for done in as_completed([pool.submit(run, seed, number) for number in range(asked.runs)]):
            found = done.result()
            kinds[f"{found['kind']} {found['shape']}"] += 1
            kinds["cuts"] += int(str(found["cuts"]))
            kinds["runs"] += 1
            if found["failed"]:
                failed.append(found)
            so_far = f"{kinds['runs']} of {asked.runs}, {len(failed)} failed"
            if sys.stderr.isatty():
                print(f"\r{so_far}", end="", file=sys.stderr, flush=True)
            elif kinds["runs"] % TOLD == 0:
                print(so_far, file=sys.stderr, flush=True)
    except KeyboardInterrupt:
        interrupted = True
        with contextlib.suppress(KeyboardInterrupt):
            pool.shutdown(cancel_futures=True)
    pool.shutdown(cancel_futures=True)
    total = {**kinds, "failed": len(failed), "seed": seed, "seconds": round(time.monotonic() - began)}
    if asked.json:
        print(json.dumps({**total, "which": failed[:20], "interrupted": interrupted}, indent=1))
    else:
        for name, count in sorted(kinds.items()):
            print(f"{name:28} {count:6,}")
        for found in failed[:20]:
            print(f"FAILED run {found['run']}, release {found['release']}, step {found['step']} "
                  f"({found['kind']} {found['shape']}): {found['failed']}\n"
                  f"once more: {sys.executable} {__file__} --seed {seed} --again {found['run']}")  # fmt: skip
        print(f"{kinds['runs']:,} runs, {kinds['cuts']:,} cuts, {len(failed)} failed, seed {seed}, "
              f"{total['seconds']} s")  # fmt: skip
    if failed:
        return 1
    return 130 if interrupted else 0


if __name__ == "__main__":
    sys.exit(main())
