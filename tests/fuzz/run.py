#!/usr/bin/env python3
"""Changed input by the hundred thousand, for everything the device decodes or verifies.

    python tests/fuzz/run.py [--count 200000] [--seed N] [--only TARGET]

The targets are those of tests/device/support/fuzz_targets.py, run on MicroPython's unix port with the native modules
built for this machine, and the signed ones of signed.py. The same seed makes the same cases; what is found names its
seed and number, and is seen again by `tests/device/support/fuzz.py ROOT unix TARGET 1 SEED NUMBER`.
"""

from __future__ import annotations

import argparse
import os
import secrets
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tools"))
import signed  # noqa: E402

MICROPYTHON = ROOT / "build" / "unix" / "micropython"
NATIVE = ROOT / "build" / "native" / os.uname().machine.replace("x86_64", "x64")
TARGETS = ("cbor", "cose", "envelope", "trust-store", "trust-update", "command", "telemetry", "patch")
PIECE = 20_000  # cases a process
HEAP = "16m"


def fuzz(target: str, count: int, seed: int) -> tuple[int, int]:
    """(taken, refused)."""
    taken = refused = 0
    for first in range(0, count, PIECE):
        command = [MICROPYTHON, "-X", f"heapsize={HEAP}", ROOT / "tests/device/support/fuzz.py", ROOT, "unix", target]
        command += [min(PIECE, count - first), seed, first]
        if NATIVE.is_dir():
            command.append(NATIVE)
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
        line = done.stdout.splitlines()[-1] if done.stdout else ""
        if done.returncode or not line.startswith("FUZZED "):
            raise AssertionError(f"{target}, seed {seed}, cases from {first}:\n{(done.stdout + done.stderr)[-3000:]}")
        _, _, more, less = line.split()
        taken += int(more)
        refused += int(less)
    return taken, refused


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=200_000, help="cases a target (default: 200000)")
    parser.add_argument("--seed", type=int, help="of the cases; default: another each time")
    parser.add_argument("--only", choices=(*TARGETS, *(f"signed-{name}" for name in signed.KINDS)), help="one target")
    asked = parser.parse_args()
    if not MICROPYTHON.exists():
        sys.exit(f"{MICROPYTHON} is not built: make -C boards/unix")
    seed = secrets.randbelow(1_000_000) if asked.seed is None else asked.seed
    native = str(NATIVE) if NATIVE.is_dir() else None
    print(f"seed {seed}, {asked.count:,} cases a target{'' if native else ', no native modules'}", flush=True)
    total, found = 0, 0
    for target in [asked.only] if asked.only else [*TARGETS, *(f"signed-{name}" for name in signed.KINDS)]:
        began = time.monotonic()
        try:
            if target in TARGETS:
                taken, refused = fuzz(target, asked.count, seed)
                said = f"{taken:>9,} taken {refused:>9,} refused"
            else:
                device = [str(MICROPYTHON), "-X", f"heapsize={HEAP}"]
                seen = signed.run(target.removeprefix("signed-"), asked.count, seed, device, native)
                taken = seen["taken"]
                said = f"{taken:>9,} taken {asked.count - taken:>9,} refused"
        except AssertionError as error:
            print(f"{target}: FOUND {error}", flush=True)
            found += 1
            continue
        total += asked.count
        print(f"{target:16} {said}  {time.monotonic() - began:6.0f} s", flush=True)
    print(f"{total:,} cases, {found} targets with a finding, seed {seed}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
