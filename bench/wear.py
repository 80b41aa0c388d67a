#!/usr/bin/env python3
"""How often an update erases each block of flash, with rom slots and with file slots.

    python bench/wear.py [--json]

The real loader and agent carry out three updates (two patches, one whole image) on the simulated board
(tests/device/simboard.py): slots and boot record in NOR flash of 4 KiB blocks, everything else on MicroPython's own
littlefs in blocks of 512 bytes. Counted is every erase that reaches the flash or littlefs' block device.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
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


def show(found: list[dict[str, Any]]) -> None:
    head = ("slots", "update", "image", "slot blocks", "erases", "most", "record, most", "littlefs erases", "most")
    keys = ("slots", "update", "image", "slot_blocks", "slot_erases", "slot_most", "record_most", "file_erases")
    table = [head, *(tuple(str(row.get(key, "-")) for key in (*keys, "file_most")) for row in found)]
    widths = [max(len(line[column]) for line in table) for column in range(len(head))]
    for line in table:
        print("  ".join(text.rjust(width) for text, width in zip(line, widths, strict=True)))
    print("most: erases of the block that was erased most; littlefs blocks are 512 bytes, slot blocks 4096")


def main() -> int:
    parser = argparse.ArgumentParser(description="erases a block per update")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    asked = parser.parse_args()
    found = [row for kind in ("rom", "file") for row in rows(measure(kind))]
    if asked.json:
        print(json.dumps(found))
    else:
        show(found)
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
