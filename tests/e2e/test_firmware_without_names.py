"""A firmware that has not our names in its flash, as MicroPython that people download: each name is in RAM, and the
most hungry uplink, "both", still leaves room for an update and a command.

Only in `make soak`: nearly all of MicroPython is compiled anew for it.
"""

from __future__ import annotations

import os
from pathlib import Path

import firmware_build
import info_command
import pytest
from lab import Installation

ROOT = Path(__file__).resolve().parent.parent.parent
FIRMWARE = ROOT / "build" / "qemu_mps2" / "firmware-nameless.elf"
BOOT_S = 90
DEVICE = "gate-n"
CHANGED = "firmware/lib/gate/reporting/log.py"
LEAST_FREE = 20_000  # bytes of heap
PICO_W = 200_784  # bytes of the heap there
SMALL = """from gate import measurement


@measurement("answer")
def answer():
    return 42
"""
BESIDE_COAP = 10_000  # while CoAP is in memory beside MQTT

pytestmark = [
    pytest.mark.soak,
    pytest.mark.skipif(not os.environ.get("TIDEGATE_FULL"), reason="TIDEGATE_FULL=1 builds the firmware for it"),
]


@pytest.mark.parametrize("uplink", ["mqtt", "both"])
def test_it_updates_and_answers(tmp_path: Path, uplink: str, record_property) -> None:
    firmware_build.make("NAMES=0")
    with Installation(tmp_path / "place", broker="mosquitto", uplink=uplink) as place:
        place.make_keys()
        place.start_server()
        place.copy_source()
        place.build("1.0.0", 1)
        board = place.add_board(DEVICE, firmware=FIRMWARE)
        place.flash(board, DEVICE, "1.0.0")
        place.wait_running(DEVICE, "1.0.0", BOOT_S)
        free = update(place, "1.0.0", "1.1.0", 2)
        record_property("heap_free", free)
        assert free > LEAST_FREE
        assert not lacked_memory(place)
        if uplink == "both":
            assert place.mosquitto is not None
            place.mosquitto.stop()
            board.wait_line(r"coap: the server answers", BOOT_S)
            assert update(place, "1.1.0", "1.2.0", 3) > BESIDE_COAP
            # Where it lacks memory beside both links, CoAP goes for the next attempt.
            assert not lacked_memory(place) or any("CoAP makes room" in line for line in board.lines)


def test_it_updates_with_its_slots_in_files(tmp_path: Path, record_property) -> None:
    """Modules are in RAM as well, then: the heap is a Pico W's with its network up, the application small.
    tests/stock/test_pico_w.py goes most of the way on that board itself.
    """
    firmware_build.make("NAMES=0", f"HEAP={PICO_W}")
    with Installation(tmp_path / "place") as place:
        place.make_keys()
        place.start_server()
        place.copy_source()
        place.put_application(SMALL)
        place.declare_image('[image]\nfeatures = ["mqtt", "http", "commands"]\n')
        place.build("1.0.0", 1)
        board = place.add_board(DEVICE, firmware=FIRMWARE.with_name(f"firmware-{PICO_W}-nameless.elf"))
        place.flash(board, DEVICE, "1.0.0", "--slots", "file")
        place.wait_running(DEVICE, "1.0.0", BOOT_S)
        for before, after, sequence in (("1.0.0", "1.1.0", 2), ("1.1.0", "1.2.0", 3)):
            free = update(place, before, after, sequence)
            record_property(f"heap_free_{after}", free)
            assert free > LEAST_FREE
        assert not lacked_memory(place)


def update(place: Installation, before: str, after: str, sequence: int) -> int:
    """Bytes of heap that are free after it."""
    source = place.source / CHANGED
    source.write_text(source.read_text() + f"\n\nprint('{after} came over the air')\n")
    place.build(after, sequence, previous=before)
    place.publish(after)
    place.wait_running(DEVICE, after, 3 * BOOT_S)
    return int(info_command.answer(place, DEVICE)["heap_free"])


def lacked_memory(place: Installation) -> bool:
    reports = place.api.records(DEVICE, "reports", 50)["reports"]
    return any("memory" in (report.get("detail") or "") for report in reports)
