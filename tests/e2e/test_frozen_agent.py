"""A firmware that holds the agent, on the emulated Cortex-M3: images without what it holds, changed over the air, and
only for it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import firmware_build
import pytest
from elftools.elf.elffile import ELFFile
from lab import Installation, LabBoard
from lab.processes import LabError

from tidegate.image import frozen, romfs

ROOT = Path(__file__).resolve().parent.parent.parent
FIRMWARE = ROOT / "build" / "qemu_mps2" / "firmware-frozen.elf"
HELD = ROOT / "build" / "qemu_mps2" / "frozen" / "frozen.json"
BOOT_S = 60
REPORT_S = 60
DEVICE = "gate-z"
USUAL = "gate-y"
CHANGED = "firmware/lib/gate/reporting/log.py"


@pytest.fixture(scope="module")
def firmware() -> Path:
    firmware_build.make("FROZEN=1")
    return FIRMWARE


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, firmware: Path) -> Iterator[Installation]:
    """An installation with a board whose firmware holds the agent, and which runs 1.0.0."""
    with Installation(tmp_path_factory.mktemp("frozen") / "place") as made:
        made.make_keys()
        made.start_server()
        made.copy_source()
        made.leave_out(HELD)
        made.build("1.0.0", 1)
        made.flash(made.add_board(DEVICE, firmware=firmware), DEVICE, "1.0.0")
        made.wait_running(DEVICE, "1.0.0", BOOT_S)
        yield made


def board(place: Installation) -> LabBoard:
    found = place.boards[0]
    assert isinstance(found, LabBoard)
    return found


def files(place: Installation, version: str) -> dict[str, bytes]:
    image = place.release(version) / "p" / place.index(version)["image"]["digest"]
    return romfs.files(image.read_bytes())


def ready_functions(module: str) -> range:
    """Where the functions of a module are in flash (boards/frozen/functions.c)."""
    with FIRMWARE.open("rb") as file:
        (found,) = ELFFile(file).get_section_by_name(".symtab").get_symbol_by_name(f"functions_{module}")
        return range(found["st_value"], found["st_value"] + found["st_size"])


def test_the_image_leaves_out_what_the_firmware_holds(place: Installation) -> None:
    held = files(place, "1.0.0")
    assert held["/FROZEN"] == frozen.read(HELD).digest
    left_out = [name for name, data in held.items() if data[:1] == frozen.LEFT_OUT]
    assert "/lib/gate/agent.mpy" in left_out and len(left_out) > 60
    assert all(len(held[name]) == 1 + frozen.DIGEST_SIZE for name in left_out)
    assert sum(map(len, held.values())) < 30_000


def test_a_changed_module_of_the_agent_comes_over_the_air(place: Installation) -> None:
    """It is in the image, and comes before the firmware's."""
    source = place.source / CHANGED
    said = "print('changed over the air:', id(Log.__init__), id(Tasks.__init__))"
    source.write_text(source.read_text() + f"\n\nfrom gate.tasks import Tasks\n{said}\n")
    place.build("1.1.0", 2, previous="1.0.0")
    assert files(place, "1.1.0")["/lib/gate/reporting/log.mpy"][:1] == b"M"
    mark = len(board(place).lines)
    place.publish("1.1.0")
    place.wait_running(DEVICE, "1.1.0", BOOT_S)
    said = board(place).wait_line(r"changed over the air: (\d+) (\d+)", BOOT_S, mark)
    ready = ready_functions("tidegate_gate_tasks")
    assert int(said[2]) in ready, "a module's functions are in flash while the firmware's is used"
    assert int(said[1]) >= ready.stop, "what came over the air has its own in RAM, which is behind the firmware"


def test_an_image_for_another_firmware_is_refused(place: Installation) -> None:
    """Before it is switched to: the board goes on with what it runs, and says why."""
    other = json.loads(HELD.read_text())
    other["modules"]["gate/clock.py"] = "00" * frozen.DIGEST_SIZE
    (place.source / "examples/vehicle-gateway/frozen.json").write_text(json.dumps(other))
    place.build("1.2.0", 3, previous="1.1.0")
    mark = len(board(place).lines)
    place.publish("1.2.0")
    report = place.wait_report(DEVICE, "failed", 0, REPORT_S)
    assert "a MicroPython that holds other modules" in report["detail"], report
    assert not [line for line in board(place).lines[mark:] if "trial" in line]
    place.wait_running(DEVICE, "1.1.0", BOOT_S)


def test_the_usual_firmware_refuses_it_too(place: Installation) -> None:
    """Flashing says so, and the loader does not boot it."""
    usual = place.add_board(USUAL, mac="02:00:00:74:69:0e")
    with pytest.raises(LabError, match="holds other modules"):
        place.flash(usual, USUAL, "1.0.0")
