#!/usr/bin/env python3
"""How often an update erases each block of flash, with rom slots and with file slots.

    python bench/wear.py [--emulated] [--json]

The real loader and agent carry out updates by patches and by a whole image. On the simulated board of the tests
(tests/device/support/sim_board.py; seconds), slots and boot record are in NOR flash of 4 KiB blocks, everything else is
on MicroPython's own littlefs in blocks of 512 bytes. --emulated: on the emulated Cortex-M3 with the real server and
broker (minutes), whose flash counts the erases of every 4 KiB block by itself; from before an update is published until
it is confirmed, so what telemetry and state cost meanwhile is in the figures, and a row says what they cost in a
minute.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tools")]

from lab import Installation, LabBoard  # noqa: E402

MICROPYTHON = ROOT / "build" / "unix" / "micropython"
TIMEOUT_S = 120
# Erases of one block by one update: more is a defect, not a figure.
MOST_SLOT = 1
MOST_RECORD = 4


def measure(kind: str) -> dict[str, Any]:
    if not MICROPYTHON.exists():
        sys.exit(f"{MICROPYTHON} is not built: make -C boards/unix")
    command = [MICROPYTHON, "-X", "heapsize=4m", ROOT / "bench" / "wear_board.py", ROOT, kind]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=TIMEOUT_S)
    if done.returncode:
        sys.exit(f"bench/wear_board.py {kind} failed:\n{done.stdout[-2000:]}{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def rows(found: dict[str, Any]) -> list[dict[str, Any]]:
    """One row an update: erases by what the blocks are for."""
    block, capacity = found["block"], found["capacity"]
    first = {"A": 2, "B": 2 + capacity // block}
    answer = []
    for update in found["updates"]:
        row = {"slots": found["kind"], "update": update["update"], "image": update["size"]}
        files = update["files"]
        if found["kind"] == "rom":
            used = -(-update["size"] // block)
            start = first[update["slot"]]
            slot = update["rom"][start : start + capacity // block]
            row["slot_blocks"], row["slot_erases"], row["slot_most"] = used, sum(slot), max(slot)
            row["record_most"] = max(update["rom"][:2])
            row["elsewhere"] = sum(update["rom"]) - sum(slot) - sum(update["rom"][:2])
        row["file_erases"], row["file_most"] = sum(files), max(files)
        answer.append(row)
    return answer


# ---------------------------------------------------------------- the emulated board

LARGE_HEAP = 196 * 1024  # from file slots modules are loaded into RAM
LARGE = ROOT / "build" / "qemu_mps2" / f"firmware-{LARGE_HEAP}.elf"
CHANGES = ROOT / "tools" / "demo_releases"
DEVICE = "gate-wear"
BOARD_BLOCK = 4096
LITTLEFS_BLOCKS = 256  # storage_layout.h: littlefs, then the ROM segment, whose first two blocks are the boot record
SEGMENT_BLOCKS = 256
UPDATE_S = 240
IDLE_S = 60


def emulated(kind: str) -> Iterator[dict[str, Any]]:
    """One row an update, and one for a minute without."""
    with tempfile.TemporaryDirectory(prefix="tidegate-wear-") as folder, Installation(Path(folder) / "place") as place:
        place.make_keys()
        place.start_server()
        place.copy_source()
        place.build("1.0.0", 1)
        board = place.add_board(DEVICE, firmware=large_firmware() if kind == "file" else None)
        place.flash(board, DEVICE, "1.0.0", "--slots", kind)
        place.wait_running(DEVICE, "1.0.0", UPDATE_S)
        place.change(CHANGES / "1.1.0.diff")
        place.build("1.1.0", 2, previous="1.0.0")
        yield one_update(place, board, kind, "patch", "1.1.0", 2)
        app = place.application / "__init__.py"
        app.write_text(app.read_text() + "\nMADE = 3\n")
        place.build("1.2.0", 3)
        yield one_update(place, board, kind, "image", "1.2.0", 3)
        before = board.emulator.erases()
        time.sleep(IDLE_S)
        yield row(kind, f"{IDLE_S} s idle", None, before, board.emulator.erases())


def one_update(
    place: Installation, board: LabBoard, kind: str, how: str, version: str, sequence: int
) -> dict[str, Any]:
    before, last = board.emulator.erases(), place.last_report(DEVICE)
    place.publish(version)
    place.wait_report(DEVICE, "confirmed", last, UPDATE_S)
    place.wait_running(DEVICE, version, UPDATE_S)
    applying = next(report for report in place.reports(DEVICE, last) if report["phase"] == "offered")
    if applying["detail"] != how:
        sys.exit(f"{kind}: the board took the {applying['detail']} for {version}, not the {how}")
    # Slot A is flashed; every update goes into the other one.
    slot = None if kind == "file" else "B" if sequence % 2 == 0 else "A"
    answer = row(kind, how, place.index(version)["image"]["size"], before, board.emulator.erases())
    if slot:
        blocks = (SEGMENT_BLOCKS - 2) // 2
        start = LITTLEFS_BLOCKS + 2 + (blocks if slot == "B" else 0)
        worn = answer.pop("segment")
        inside = worn[start - LITTLEFS_BLOCKS :][:blocks]
        answer["slot_blocks"] = -(-answer["image"] // BOARD_BLOCK)
        answer["slot_erases"], answer["slot_most"] = sum(inside), max(inside)
        answer["elsewhere"] = sum(worn[2:]) - sum(inside)
    return answer


def row(kind: str, update: str, image: int | None, before: list[int], after: list[int]) -> dict[str, Any]:
    worn = [new - old for new, old in zip(after, before, strict=True)]
    files, segment = worn[:LITTLEFS_BLOCKS], worn[LITTLEFS_BLOCKS:][:SEGMENT_BLOCKS]
    answer = {"slots": kind, "update": update, "image": image, "segment": segment, "record_most": max(segment[:2])}
    if kind == "file" or image is None:
        answer["elsewhere"] = sum(answer.pop("segment")[2:])
    return {**answer, "file_erases": sum(files), "file_most": max(files)}


def large_firmware() -> Path:
    command = ["make", "-s", "-C", ROOT / "boards" / "qemu_mps2", f"HEAP={LARGE_HEAP}"]
    done = subprocess.run([*map(str, command), f"PYTHON={sys.executable}"], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"the firmware with a large heap does not build:\n{done.stdout}{done.stderr}")
    return LARGE


def show(found: list[dict[str, Any]], block: int) -> None:
    head = ("slots", "update", "image", "slot blocks", "erases", "most", "record, most", "littlefs erases", "most")
    keys = ("slots", "update", "image", "slot_blocks", "slot_erases", "slot_most", "record_most", "file_erases")
    table = [head, *(tuple(str(row.get(key, "-")) for key in (*keys, "file_most")) for row in found)]
    widths = [max(len(line[column]) for line in table) for column in range(len(head))]
    for line in table:
        print("  ".join(text.rjust(width) for text, width in zip(line, widths, strict=True)))
    print(f"most: erases of the block that was erased most; littlefs blocks are {block} bytes, slot blocks 4096")


def main() -> int:
    parser = argparse.ArgumentParser(description="erases a block per update")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--emulated", action="store_true", help="on the emulated board, with server and broker")
    asked = parser.parse_args()
    found = [line for kind in ("rom", "file") for line in (emulated(kind) if asked.emulated else rows(measure(kind)))]
    if asked.json:
        print(json.dumps(found))
    else:
        show(found, BOARD_BLOCK if asked.emulated else 512)
    bad = [
        row
        for row in found
        if row.get("slot_most", 0) > MOST_SLOT
        or row.get("record_most", 0) > MOST_RECORD
        or row.get("elsewhere", 0)
        or row.get("slot_erases", 0) != row.get("slot_blocks", 0)
    ]
    for row in bad:
        print(f"over the limit: {row}", file=sys.stderr)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
