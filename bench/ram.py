#!/usr/bin/env python3
"""What lives in the emulated Cortex-M3's heap while the example application is at rest, by kind and by owner.

    make bench-ram      or: python bench/ram.py [--minimal] [--frozen | --without-names] [--both | --stand-in]

A whole installation as the demo's runs: server, broker, a board that has verified a signed command. Then the board
stands still while its memory is read through the emulator's monitor, and every object is marked as the collector marks
it; garbage does not count. That is done some times, and the one with the least counts: no message is on its way in it.
An owner is the module whose function, class or instance an object is, or hangs on.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tools")]

from agent import BOOT_S, DEVICE, PERIOD_S, installed  # noqa: E402
from heap_census import RAM_SIZE, Census, Firmware  # noqa: E402

SETTLE_S = 15
LOOKS = 6  # spread over a period of telemetry: a pack on its way is not rest, nor in each of them
FLASH_BASE = 0x21000000  # boards/qemu_mps2/src/storage_layout.h
OWNERS = 40
MINIMAL = ROOT / "examples" / "minimal" / "app" / "__init__.py"


def measure(settled_s: float, stand_in: bool, **options: Any) -> Census:
    """stand_in: while the broker is away; options: of `installed`."""
    with installed(**options) as place:
        place.boot()
        made = place.made
        made.wait_running(DEVICE, "1.0.0", BOOT_S)
        made.tidegate("cmd", "send", DEVICE, "ping", "--key", made.key("command"), "--json")
        if stand_in:
            assert made.mosquitto is not None
            made.mosquitto.stop()
            place.board.wait_line(r"coap: the server answers", BOOT_S)
        time.sleep(settled_s)
        flash = FLASH_BASE, place.emulator.storage.read_bytes()
        firmware = Firmware(place.emulator.firmware)
        looks = []
        for _ in range(LOOKS):
            looks.append(Census(firmware, *place.emulator.memory(0, RAM_SIZE), flash))
            time.sleep(PERIOD_S / LOOKS)
        return min(looks, key=lambda look: look.live)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.add_argument("--names", action="store_true", help="also list the names that the firmware's flash lacks")
    parser.add_argument("--settled", type=float, default=SETTLE_S, metavar="S", help="seconds at rest before (15)")
    firmware = parser.add_mutually_exclusive_group()
    firmware.add_argument("--frozen", action="store_true", help="on firmware that holds the agent (make FROZEN=1)")
    firmware.add_argument("--without-names", action="store_true", help="on one without our names (make NAMES=0)")
    parser.add_argument("--minimal", action="store_true", help="with examples/minimal as the application")
    links = parser.add_mutually_exclusive_group()
    links.add_argument("--both", action="store_true", help='with the uplink "both": MQTT, and CoAP ready to stand in')
    links.add_argument("--stand-in", action="store_true", help="the same while the broker is away")
    arguments = parser.parse_args()
    options: dict[str, Any] = {"frozen": arguments.frozen, "named": not arguments.without_names}
    if arguments.minimal:
        options["application"] = MINIMAL
    if arguments.both or arguments.stand_in:
        options |= {"broker": "mosquitto", "uplink": "both"}
    census = measure(arguments.settled, arguments.stand_in, **options)
    figures = {"live": census.live, "free": census.free, "largest free piece": census.largest}
    if arguments.json:
        parts = {"by kind": census.by_kind, "by owner": census.by_owner, "names in RAM": census.names_in_ram()}
        print(json.dumps({**figures, **parts}))
        return 0
    for name, value in figures.items():
        print(f"{name:44} {value:9,} B")
    for title, rows in (("by kind", census.by_kind), ("by owner", census.by_owner)):
        print(f"\n{title:44} {'bytes':>9}   {'objects':>7}")
        shown = list(rows.items())[:OWNERS]
        for name, (size, count) in shown:
            print(f"{name:44} {size:9,}   {count:7}")
        rest = list(rows.values())[OWNERS:]
        if rest:
            print(f"{f'{len(rest)} more':44} {sum(size for size, _ in rest):9,}   {sum(count for _, count in rest):7}")
    print("\nthe largest")
    for size, kind, owner in census.largest_objects:
        print(f"{kind + ' of ' + owner:44} {size:9,}")
    if arguments.names:
        print("\nnames in RAM:", *sorted(census.names_in_ram()), sep="\n  ")
    return 0


if __name__ == "__main__":
    sys.exit(main())
