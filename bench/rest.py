#!/usr/bin/env python3
"""What the example application costs the emulated Cortex-M3 at rest: the heap it holds, and the size of its image.

    make bench-rest     or: python bench/rest.py [--json]

A whole installation as the demo's (tools/lab): keys, server, broker, a board with the example application. The board
sends its free heap, after a collection, with its telemetry; the figure is the median of some values once it has been
online for a while and nothing is being done, so what is loaded on demand has been let go of.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tools")]

from lab import Installation  # noqa: E402

DEVICE = "gate-1"
HEAP = "heap_free"
SETTLE_S = 20  # from being online to the first value that counts
VALUES = 9
TIMEOUT_S = 120


def free_heap(place: Installation) -> list[int]:
    """What the board has sent, newest first."""
    return [row["value"] for row in place.api.telemetry(DEVICE, {"name": HEAP}, 1000)]


def measure() -> dict[str, int]:
    with tempfile.TemporaryDirectory(prefix="tidegate-bench-") as name, Installation(Path(name) / "place") as place:
        place.make_keys()
        place.start_server()
        place.copy_source()
        place.build("1.0.0", 1)
        place.flash(place.add_board(DEVICE), DEVICE, "1.0.0")
        place.wait_running(DEVICE, "1.0.0", TIMEOUT_S)
        time.sleep(SETTLE_S)
        before = len(free_heap(place))
        place.wait("telemetry", lambda: len(free_heap(place)) >= before + VALUES, TIMEOUT_S)
        free = int(statistics.median(free_heap(place)[:VALUES]))
        memory = json.loads(place.tidegate("cmd", "send", DEVICE, "mem", "--key", place.key("command"), "--json"))
        result = memory["result"]["answer"]
        return {
            "image": place.index("1.0.0")["image"]["size"],
            "heap at rest": result["free"] + result["used"] - free,
            "heap within the opcode mem": result["used"],
            "heap free at rest": free,
        }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="for programs")
    arguments = parser.parse_args()
    figures = measure()
    if arguments.json:
        print(json.dumps(figures))
        return 0
    for name, value in figures.items():
        print(f"{name:44} {value:9,} B")
    return 0


if __name__ == "__main__":
    sys.exit(main())
