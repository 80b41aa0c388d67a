"""docs/boards.md is made from every board.toml, and [micropython] there is what MicroPython's sources say."""

from __future__ import annotations

import re
from pathlib import Path

import boards_table
import pytest

from tidegate import boards

ROOT = Path(__file__).resolve().parent.parent.parent
SOURCES = ROOT / ".toolchain" / "micropython"
READ = "1.25"  # the version of those sources
# Boards with MicroPython of others, and where its sources define them.
DEFINED = {
    "arduino_giga": "stm32/boards/ARDUINO_GIGA",
    "arduino_portenta_h7": "stm32/boards/ARDUINO_PORTENTA_H7",
    "nucleo_h743zi": "stm32/boards/NUCLEO_H743ZI",
    "pybd_sf6": "stm32/boards/PYBD_SF6",
    "rpi_pico_w": "rp2/boards/RPI_PICO_W",
    "rpi_pico2_w": "rp2/boards/RPI_PICO2_W",
    "teensy41": "mimxrt/boards/TEENSY41",
    "w5500_evb_pico": "rp2/boards/W5500_EVB_PICO",
}
NAMES = boards.names(ROOT)


def number(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def test_the_page_has_the_table() -> None:
    page = boards_table.PAGE.read_text()
    assert boards_table.filled(page) == page, "run: python tools/boards_table.py --write"


def test_the_readme_lists_them_in_the_order_of_proof() -> None:
    readme = (ROOT / "README.md").read_text()
    places = {name: readme.index(f"(boards/{name}/README.md)") for name in NAMES}
    tried = [board.settings["tried"] for board in boards_table.by_proof()]
    assert tried == sorted(tried, key=["machine", "emulator", "no"].index)
    in_readme = [boards.load(ROOT, name).settings["tried"] for name in sorted(places, key=lambda name: places[name])]
    assert in_readme == tried


@pytest.mark.parametrize("name", NAMES)
def test_what_it_cannot_comes_first_on_its_page(name: str) -> None:
    board = boards.load(ROOT, name)
    facts, every = board.settings["micropython"], board.micropython
    in_place = board.settings["slots"]["kind"] == "rom"
    lacks = not facts.get("vfs_rom") or number(facts["vfs_rom"]) > every
    lacks |= in_place and (not facts.get("rom_slots") or number(facts["rom_slots"]) > every)
    page = (board.folder / "README.md").read_text()
    second = page.split("\n\n")[1]
    assert second.startswith("**What it cannot:**") == lacks, second


@pytest.mark.parametrize("name", DEFINED)
def test_the_facts_are_those_of_micropythons_sources(name: str) -> None:
    """By the port's own rule for MICROPY_VFS_ROM, and by what its rom_ioctl takes."""
    folder = SOURCES / "ports" / DEFINED[name]
    header, port = (folder / "mpconfigboard.h").read_text(), folder.parent.parent
    rules = (port / "mpconfigport.h").read_text()
    if port.name == "rp2":
        assert re.search(r"define MICROPY_VFS_ROM +\(MICROPY_HW_ROMFS_BYTES > 0\)", rules)
        assert re.search(r"define MICROPY_HW_ROMFS_BYTES \(0\)", rules)
        has = "MICROPY_HW_ROMFS_BYTES" in header
    elif port.name == "stm32":
        assert "define MICROPY_VFS_ROM (MICROPY_HW_ROMFS_ENABLE_INTERNAL_FLASH" in rules
        has = bool(re.search(r"define MICROPY_HW_ROMFS_ENABLE_(INTERNAL_FLASH|EXTERNAL_QSPI) +\(1\)", header))
    else:
        has = "MICROPY_VFS_ROM" in rules
    facts = boards.load(ROOT, name).settings["micropython"]
    assert READ in facts["read"], "the sources here were read for this row"
    assert (facts.get("vfs_rom") == READ) == has
    assert bool(facts["rom_segment"]) == bool(facts.get("vfs_rom")), "this MicroPython has both or neither"
    if has:
        # PREPARE takes the segment and a length, and no offset: what comes before the end is erased, too.
        ioctl = (port / "vfs_rom_ioctl.c").read_text()
        prepare = ioctl.partition("IOCTL_WRITE_PREPARE")[2].partition("IOCTL_WRITE)")[0]
        assert "args[2]" in prepare and "args[3]" not in prepare
        assert facts.get("rom_slots", "") != READ
        assert facts["rom_segment"] == boards.load(ROOT, name).settings["slots"]["segment_size"]


def test_the_facts_of_the_pico_are_those_of_our_own_build() -> None:
    board = boards.load(ROOT, "rpi_pico")
    header = (board.folder / "micropython" / "mpconfigboard.h").read_text()
    sizes = dict(re.findall(r"MICROPY_HW_(\w+)_BYTES +\((\d+) \* 1024\)", header))
    segment, files = int(sizes["ROMFS"]) * 1024, int(sizes["FLASH_STORAGE"]) * 1024
    assert segment == board.settings["micropython"]["rom_segment"] == board.settings["slots"]["segment_size"]
    assert f"_FILES = {files}\n" in (ROOT / "boards" / "common" / "rp2" / "_boot.py").read_text()
    most = re.search(r"^MOST = (\d+)$", (board.folder / "Makefile").read_text(), re.MULTILINE)
    assert most and int(most[1]) == 2048 * 1024 - segment - files


@pytest.mark.parametrize("name", NAMES)
def test_what_is_said_to_be_tried_was(name: str) -> None:
    board = boards.load(ROOT, name)
    tried = board.settings["micropython"].get("tried", [])
    assert bool(tried) == (board.settings["tried"] != "no")
    assert all(number(version) >= board.micropython for version in tried)


def test_a_page_without_a_place_for_the_table() -> None:
    with pytest.raises(ValueError, match="lacks the lines"):
        boards_table.filled("# What each board can\n")
