#!/usr/bin/env python3
"""What the running agent costs the emulated Cortex-M3: instructions of a boot, an update and a minute at rest.

    make bench      or: python bench/agent.py [--json] [--check] [--signature] [--frozen]

The parts alone (bench/device.py) run on an empty heap; here a whole installation runs as the demo's: server, broker, a
board with the example application, its heap as it is in the field, the collector included. QEMU says how many
instructions the board has executed when a message passes between board and server; the message waits for it. What a
board does beside (its clock's interrupt, telemetry each 5 s) is counted, too, so figures vary by a few in a hundred;
what it does at rest in the time of an update is taken off the update's. --signature: also a boot by a loader that
verifies the manifest. The host's processor time is for comparing two runs on one quiet machine.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from elftools.elf.elffile import ELFFile

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tools")]

from counted_board import DOWN, UP, CountedEmulator, Marks, Relay  # noqa: E402
from lab import Installation  # noqa: E402

DEVICE = "gate-1"
PERIOD_S = 5  # of telemetry
BOOT_S = 120
SETTLE_S = 10
REST_S = 60
CHANGE = ROOT / "tools" / "demo_releases" / "1.1.0.diff"
FROZEN = ROOT / "build" / "qemu_mps2" / "firmware-frozen.elf"
NAMELESS = ROOT / "build" / "qemu_mps2" / "firmware-nameless.elf"
CONNECT = 0x10  # first byte of MQTT's CONNECT

Figures = dict[str, float]

# Instructions that the design allows, by the name of a row.
BUDGETS = {
    "boot to CONNECT": 45_000_000,
    "boot to CONNECT, manifest verified": 90_000_000,
    "update, small: offer to the reset": 80_000_000,
}


class Place:
    """An installation whose board's connections pass by `marks`."""

    def __init__(self, made: Installation, firmware: Path | None):
        self.made = made
        self.marks = Marks(lambda: self.board.emulator.instructions())
        self.board = made.add_board(DEVICE, period_s=PERIOD_S, firmware=firmware)
        path = made.folder / f"{DEVICE}.config.json"
        config = json.loads(path.read_text())
        payloads = urlsplit(config["payloads"])
        self._relays = [Relay(port, self.marks.see) for port in (made.mqtt_port, payloads.port)]
        config["mqtt"]["port"] = self._relays[0].port
        config["payloads"] = f"{payloads.scheme}://{payloads.hostname}:{self._relays[1].port}/"
        path.write_text(json.dumps(config))

    def flash(self, *options: str) -> None:
        self.made.flash(self.board, DEVICE, "1.0.0", *options)
        self.made.wait_running(DEVICE, "1.0.0", BOOT_S)

    def count(self) -> None:
        """From here on the board is one whose instructions are counted."""
        self.board.power_off()
        usual = self.board.emulator
        self.board.emulator = CountedEmulator(
            usual.storage, mac=usual.mac, console_log=usual.console_log, firmware=usual.firmware
        )

    @property
    def emulator(self) -> CountedEmulator:
        assert isinstance(self.board.emulator, CountedEmulator)
        return self.board.emulator

    def boot(self) -> Figures:
        """Power on; the figures of the way from MicroPython's start to CONNECT. Before it the board waits for bytes of
        entropy, which come at their own pace while QEMU records.
        """
        self.marks.look_for(connect=lambda way, data: way == UP and data[0] == CONNECT)
        self.board.power_on()
        began = self.run_to("mp_init")
        cpu_s = self.emulator.cpu_seconds()
        instructions = self.marks.wait("connect", BOOT_S) - began
        return {"instructions": instructions, "CPU s of the host": self.emulator.cpu_seconds() - cpu_s}

    def run_to(self, function: str) -> int:
        """Instructions of the board when it next comes to a function of its firmware."""
        return self.emulator.run_to(address(self.emulator.firmware, function), BOOT_S)

    def close(self) -> None:
        for relay in self._relays:
            relay.close()


@contextmanager
def installed(
    *options: str,
    frozen: bool = False,
    named: bool = True,
    application: Path | None = None,
    broker: str = "embedded",
    uplink: str = "mqtt",
) -> Iterator[Place]:
    """A board that was flashed with release 1.0.0 and these options, switched off. frozen: on firmware that holds the
    agent; not named: on one that has not our names in its flash. application: one of a single module, in place of the
    example's. broker, uplink: see Installation.
    """
    firmware = _built(FROZEN, "FROZEN=1") if frozen else None if named else _built(NAMELESS, "NAMES=0")
    with (
        tempfile.TemporaryDirectory(prefix="tidegate-bench-") as name,
        Installation(Path(name) / "place", broker=broker, uplink=uplink) as made,
    ):
        made.make_keys()
        made.start_server()
        made.copy_source()
        if application:
            made.put_application(application.read_text())
        if frozen:
            made.leave_out(FROZEN.parent / "frozen" / "frozen.json")
        made.build("1.0.0", 1)
        place = Place(made, firmware)
        try:
            place.flash(*options)
            place.count()
            yield place
        finally:
            place.close()


def _built(firmware: Path, option: str) -> Path:
    if not firmware.exists():
        sys.exit(f"bench: there is no {firmware.relative_to(ROOT)}; build it: make -C boards/qemu_mps2 {option}")
    return firmware


def address(firmware: Path, function: str) -> int:
    with firmware.open("rb") as file:
        symbols = ELFFile(file).get_section_by_name(".symtab")
        return int(symbols.get_symbol_by_name(function)[0]["st_value"])


def update(place: Place) -> Figures:
    """The small update of the demo: instructions from the offer to the payload's request, and to the board's reset."""
    made, marks = place.made, place.marks
    made.change(CHANGE)
    made.build("1.1.0", 2, previous="1.0.0")
    topic = f"{DEVICE}/down/offer".encode()
    marks.look_for(
        offer=lambda way, data: way == DOWN and topic in data,
        request=lambda way, data: way == UP and data[:4] == b"GET ",
    )
    with ThreadPoolExecutor(1) as pool:
        publishing = pool.submit(made.publish, "1.1.0")
        ended = place.run_to("Reset_Handler")
        seconds = time.monotonic() - marks.when("offer")
        publishing.result()
    began, fetching = marks.wait("offer", 0), marks.wait("request", 0)
    made.wait_running(DEVICE, "1.1.0", BOOT_S)
    return {"to the request": fetching - began, "to the reset": ended - began, "seconds": seconds}


def measure(signature: bool, frozen: bool) -> dict[str, Figures]:
    rows = {}
    with installed(frozen=frozen) as place:
        rows["boot to CONNECT"] = place.boot()
        place.made.wait_running(DEVICE, "1.0.0", BOOT_S)
        time.sleep(SETTLE_S)
        before, cpu_s = place.emulator.instructions(), place.emulator.cpu_seconds()
        time.sleep(REST_S)
        rows["a minute at rest"] = {
            "instructions": place.emulator.instructions() - before,
            "CPU s of the host": place.emulator.cpu_seconds() - cpu_s,
        }
        found = update(place)
        meanwhile = int(rows["a minute at rest"]["instructions"] / REST_S * found["seconds"])
        rows["update, small: offer to the request"] = {"instructions": found["to the request"]}
        rows["update, small: offer to the reset"] = {"instructions": found["to the reset"] - meanwhile}
    if signature:
        with installed("--verify", "signature", frozen=frozen) as place:
            rows["boot to CONNECT, manifest verified"] = place.boot()
    return rows


def over(rows: dict[str, Figures]) -> list[str]:
    """The names whose budget is not held."""
    return [name for name, row in rows.items() if row["instructions"] > BUDGETS.get(name, float("inf"))]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.add_argument("--check", action="store_true", help="exit code 1 if a budget is not held")
    parser.add_argument("--signature", action="store_true", help="measure a boot that verifies the manifest, too")
    parser.add_argument("--frozen", action="store_true", help="on firmware that holds the agent (make FROZEN=1)")
    arguments = parser.parse_args()
    rows = measure(arguments.signature, arguments.frozen)
    late = over(rows)
    if arguments.json:
        print(json.dumps({name: {**row, "budget": BUDGETS.get(name)} for name, row in rows.items()}))
    else:
        print(f"{'':56} {'instructions':>12} {'budget':>12} {'CPU s of the host':>18}")
        for name, row in rows.items():
            most, cpu_s = BUDGETS.get(name), row.get("CPU s of the host")
            cells = f"{row['instructions']:12,} {'' if most is None else format(most, ','):>12}"
            print(f"{name:56} {cells} {'' if cpu_s is None else format(cpu_s, '.2f'):>18}", end="")
            print("  over budget" if name in late else "")
    return 1 if arguments.check and late else 0


if __name__ == "__main__":
    sys.exit(main())
