"""Every folder of boards/: its board.toml, its page, a release for it, its board.py.

Ground: mpy-cross, MicroPython's unix port, and stand-ins for the hardware of the boards there is none of here
(support/standins.py says what that proves and what not). The emulated board and the unix gateway are proved by the
tests that run them.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from patience import limit

from tidegate import boards
from tidegate.boards import schema
from tidegate.boards.schema import BoardFileError
from tidegate.flash import loader_files
from tidegate.release import Release, build_release
from tidegate.sources import Sources

ROOT = Path(__file__).resolve().parent.parent.parent
MICROPYTHON = ROOT / "build" / "unix" / "micropython"
SOURCES = ROOT / ".toolchain" / "micropython"
NAMES = boards.names(ROOT)
# What a board's MicroPython is a port of, and how it comes into the network.
UNTRIED = {
    "arduino_giga": ("stm32", "wlan", "ARDUINO_GIGA"),
    "arduino_portenta_h7": ("stm32", "both", "ARDUINO_PORTENTA_H7"),
    "nucleo_h743zi": ("stm32", "lan", "NUCLEO_H743ZI"),
    "pybd_sf6": ("stm32", "both", "PYBD_SF6"),
    "rpi_pico": ("rp2", "none", "RPI_PICO"),
    "rpi_pico_w": ("rp2", "wlan", "RPI_PICO_W"),
    "rpi_pico2_w": ("rp2", "wlan", "RPI_PICO2_W"),
    "teensy41": ("mimxrt", "lan", "TEENSY41"),
    "w5500_evb_pico": ("rp2", "wiznet5k", "W5500_EVB_PICO"),
}


def test_every_board_is_accounted_for() -> None:
    assert {*UNTRIED, "qemu_mps2", "unix"} == set(NAMES)
    untried = {name for name in NAMES if boards.load(ROOT, name).settings["tried"] == "no"}
    assert untried == set(UNTRIED) - {"rpi_pico", "rpi_pico_w"}  # which run in tests/stock


@pytest.mark.parametrize("name", NAMES)
def test_its_page_says_what_people_need(name: str) -> None:
    page = (ROOT / "boards" / name / "README.md").read_text()
    for heading in ("## Slots", "## MicroPython on it", "## Network", "## Limits"):
        assert heading in page, f"{name}/README.md lacks {heading}"
    board = boards.load(ROOT, name)
    assert f"--board {name}" in page
    if name in UNTRIED:
        assert "**Not tried on hardware.**" in page
    if board.arch:
        assert f"`{board.arch}`" in page
    assert f"`{board.machine}" in page, "what sys.implementation._machine says"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Release:
    return build_release(
        Sources.checkout(ROOT),
        tmp_path_factory.mktemp("all") / "release",
        board_names=NAMES,
        version="1.0.0",
        sequence=1,
    )


def test_a_release_for_all_boards(built: Release) -> None:
    assert set(built.targets) == set(NAMES)
    for name, target in built.targets.items():
        board = boards.load(ROOT, name)
        assert board.slot_size is None or target.size <= board.slot_size
        assert built.payload(target.digest)


@pytest.mark.parametrize("layout", ("segment", "stock"))
@pytest.mark.parametrize("name", UNTRIED)
def test_board_py_keeps_the_contract(name: str, layout: str, tmp_path: Path) -> None:
    """Compiled for its core, as it is flashed, and run against stand-ins."""
    port, network, _ = UNTRIED[name]
    board = boards.load(ROOT, name)
    for path, data in loader_files.loader(ROOT, board, signature=False).items():
        place = tmp_path / path[1:]
        place.parent.mkdir(exist_ok=True)
        place.write_bytes(data)
    command = [
        MICROPYTHON,
        "-X",
        "heapsize=8m",
        ROOT / "tests" / "board" / "support" / "standins.py",
        tmp_path,
        port,
        network,
        layout,
    ]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=limit(30))
    assert done.returncode == 0 and done.stdout.splitlines()[-1] == "all held", done.stdout + done.stderr
    assert "a secret" not in done.stdout


@pytest.mark.parametrize("name", UNTRIED)
def test_facts_are_those_of_micropythons_sources(name: str) -> None:
    """The names and sizes in board.toml, as MicroPython's own board definitions have them."""
    port, _, definition = UNTRIED[name]
    folder = SOURCES / "ports" / port / "boards" / definition
    header = (folder / "mpconfigboard.h").read_text()
    board = boards.load(ROOT, name)
    title = re.search(r'MICROPY_HW_BOARD_NAME\s+"([^"]+)"', header)
    # The Pico's name begins that of its kin, so it goes on to the chip's.
    assert title and title[1] == board.machine.removesuffix(" with")
    size = board.settings["slots"].get("segment_size")
    if port == "rp2":
        storage = {"rpi_pico": 1408, "rpi_pico_w": 848, "rpi_pico2_w": 4096 - 1536, "w5500_evb_pico": 1408}[name] * 1024
        said = re.search(r"MICROPY_HW_FLASH_STORAGE_BYTES\s+\((.*)\)", header)
        assert said and eval(said[1].replace("PICO_FLASH_SIZE_BYTES", "4096 * 1024")) == storage
        assert size == storage - 368 * 1024
    assert ("MICROPY_HW_ROMFS_ENABLE_PART0" in header) == (port == "stm32" and size is not None)
    for script in folder.glob("*.ld"):
        found = re.search(r"FLASH_ROMFS.*LENGTH = (\d+)K", script.read_text())
        assert found is None or int(found[1]) * 1024 == size


# ------------------------------------------------------------------ board.toml


GOOD = (ROOT / "boards" / "qemu_mps2" / "board.toml").read_text()


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('mcu = "', 'cpu = "', "cpu is unknown"),
        ('title = "QEMU MPS2, Cortex-M3"', "title = 3", "title must be a text"),
        ('title = "QEMU MPS2, Cortex-M3"\n', "", "title is missing: for people"),
        ('title = "QEMU MPS2, Cortex-M3"', 'title = ""', "title is ''; it must be for people"),
        ('arch = "armv7m"', 'arch = "cortex-m3"', "arch is 'cortex-m3'; it may be '', 'x86'"),
        ("native = true", 'native = "yes"', "native must be true or false"),
        ('tried = "emulator"', 'tried = "probably"', "tried is 'probably'; it may be 'emulator', 'machine', 'no'"),
        ("ram = 4194304", "ram = true", "ram must be a whole number"),
        ("segment_size = 1048576\n", "", 'slots.segment_size is missing, and kind is "rom"'),
        ("segment_size = 1048576", "segment_size = 1048577", "slots.segment_size is 1048577; it must be a multiple"),
        ("segment_size = 1048576", "segment_size = 65536", "slots.segment_size leaves no room for two slots"),
        ("block_size = 4096", "block_size = 1", "slots.block_size is 1; it may be 256 to 1048576"),
        ("[flash]\n", "[flash]\nroot = 'flash'\n", "flash.root is 'flash'; it must be where MicroPython mounts"),
        ("[flash]\n", "[flash]\nmicropython = '1.25.0'\n", "flash.micropython is '1.25.0'; it must be the oldest"),
        ("[flash]\n", "[flash]\nbaud = 9600\n", "flash.baud is unknown"),
        ("[network]\n", "[networks]\n", "networks is unknown"),
        ("[flash]\n", "modules = ['x']\n[flash]\n", "emulator.m7.modules is unknown"),
        ('machine = "mps2-an386"', "machine = 386", "emulator.m4.machine must be a text"),
        ("ram = 4194304", "modules = ['../x']", "modules has '../x' in it; it must be a list of modules"),
    ],
)
def test_errors_name_file_key_and_remedy(old: str, new: str, says: str, tmp_path: Path) -> None:
    folder = tmp_path / "boards" / "qemu_mps2"
    folder.mkdir(parents=True)
    assert GOOD.count(old) == 1, "the test changes what is there"
    (folder / "board.toml").write_text(GOOD.replace(old, new))
    with pytest.raises(BoardFileError, match=re.escape(f"{folder / 'board.toml'}: {says}")) as wrong:
        boards.load(tmp_path, "qemu_mps2")
    assert "`tidegate docs adding-a-board`" in wrong.value.remedy


def test_the_page_shows_every_key() -> None:
    page = (ROOT / "docs" / "adding-a-board.md").read_text()
    for table, keys in schema.SCHEMA.items():
        for key, facts in keys.items():
            name = f"{table}.{key}" if table else key
            assert re.search(rf"^\| `{re.escape(name)}` \|.*{re.escape(facts.text)}", page, re.MULTILINE), name
