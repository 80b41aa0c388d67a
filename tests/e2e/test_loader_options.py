"""The loader's options on the emulated Cortex-M3: signatures verified at every boot, and file slots.

File slots need more than the 128 KiB of heap the board usually has, because modules are loaded into RAM: it has the
196 KiB of a Raspberry Pi Pico W here.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import firmware_build
import pytest
from lab import Installation, LabBoard
from shared_board import CHANGES

from tidegate.flash.serial_session import Session

ROOT = Path(__file__).resolve().parent.parent.parent
LARGE_HEAP = 196 * 1024
LARGE = ROOT / "build" / "qemu_mps2" / f"firmware-{LARGE_HEAP}.elf"
DEVICE = "gate-s"
FILES = "gate-f"
BOOT_S = 60


@pytest.fixture(scope="module")
def large_firmware() -> Path:
    """The same board with the heap that MicroPython leaves on a Pico W."""
    firmware_build.make(f"HEAP={LARGE_HEAP}")
    return LARGE


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """An installation with a board that verifies signatures and runs 1.0.0."""
    with Installation(tmp_path_factory.mktemp("options") / "place") as made:
        made.make_keys()
        made.start_server()
        made.copy_source()
        made.build("1.0.0", 1)
        said = made.flash(made.add_board(DEVICE), DEVICE, "1.0.0", "--verify", "signature")
        assert "its signature verified" in said
        made.wait_running(DEVICE, "1.0.0", BOOT_S)
        yield made


def board(place: Installation) -> LabBoard:
    found = place.boards[0]
    assert isinstance(found, LabBoard)
    return found


def test_an_update_under_verified_signatures(place: Installation) -> None:
    place.change(CHANGES / "1.1.0.diff")
    place.build("1.1.0", 2, previous="1.0.0")
    place.publish("1.1.0")
    place.wait_running(DEVICE, "1.1.0", BOOT_S)
    slots = board(place).slots()
    assert slots["verify"] == "signature" and slots["running"] == "B"
    assert slots["slots"]["A"]["whole"] and slots["slots"]["B"]["whole"]


def test_a_slot_whose_manifest_is_gone_is_not_run(place: Installation) -> None:
    """Flashing nothing new keeps the option; a slot that lost its manifest is as good as damaged."""
    mark = len(board(place).lines)
    with board(place).serial_port_free() as port:
        place.tidegate("flash", port, "--board", place.target, "--source", place.source)
    board(place).wait_line(r"slot B, sequence 2, verified", BOOT_S, mark)
    with board(place).serial_port_free() as port, Session(port) as session:
        session.run("os.remove('/tg/slots/b.suit')")
        session.reset()
    board(place).wait_line(r"slot B: the slot has no signed manifest", BOOT_S, mark)
    board(place).wait_line(r"going back to slot A", BOOT_S, mark)
    place.wait_running(DEVICE, "1.0.0", BOOT_S)


def test_file_slots_take_an_update(place: Installation, large_firmware: Path) -> None:
    board = place.add_board(FILES, mac="02:00:00:74:69:0f", firmware=large_firmware)
    said = place.flash(board, FILES, "1.0.0", "--slots", "file")
    assert "file slot A boots: sequence 1" in said
    # 1.1.0 has been published: it is offered as soon as the board says what it runs.
    place.wait_running(FILES, "1.1.0", 2 * BOOT_S)
    slots = board.slots()
    assert (slots["kind"], slots["running"], slots["trial"]) == ("file", "B", None)
    assert slots["slots"]["B"]["digest"] == place.index("1.1.0")["image"]["digest"]
    with board.serial_port_free() as port, Session(port) as session:
        assert "/tg/slots/b.img" in session.list("/tg")
        assert not [name for name in session.list("/tg") if name.endswith(".new")]
        # And the ROM segment was left alone.
        assert session.value("all(byte == 255 for byte in __import__('vfs').rom_ioctl(2, 0)[:8192])")
