"""The census of a board's heap (bench/heap_census.py) against what the board says of itself, and the count of its
instructions against a loop of a known length.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2] / "bench"))

from board_prompt import Prompt
from counted_board import CountedEmulator
from elftools.elf.elffile import ELFFile
from heap_census import RAM_SIZE, Census, Firmware

from tidegate.boards.emulator import Emulator

FLASH_BASE = 0x21000000
START_S = 120
MAIN = """
import gc, time
class Thing: pass
thing = Thing()
thing.held = bytearray(5000)
name_of_ours = 1
for count in (0, 100_000):
    for _ in range(count): pass
    gc.collect()
    print("used", gc.mem_alloc())
    time.sleep(1)
time.sleep(1000)
"""


def wait_for_used(log: Path, times: int) -> int:
    """What the board printed last, once it has printed so often."""
    deadline = time.monotonic() + START_S
    words: list[str] = []
    while time.monotonic() < deadline:
        words = log.read_text(errors="replace").split("\n")[:-1] if log.exists() else []
        found = [line.split()[1] for line in words if line.startswith("used ")]
        if len(found) >= times:
            return int(found[-1])
        time.sleep(0.05)
    raise AssertionError(f"the board printed {words}")


def test_a_census_finds_what_the_board_has(tmp_path: Path) -> None:
    """The program comes by another start: while QEMU records, a serial port loses bytes that come in."""
    flash, log = tmp_path / "flash", tmp_path / "console"
    with Emulator(flash) as usual:
        repl = Prompt(usual.pty)
        repl.exec(f"with open('/main.py', 'w') as file: file.write({MAIN!r})")
        repl.close()
    with CountedEmulator(flash, console_log=log) as board:
        with board.firmware.open("rb") as file:
            symbols = ELFFile(file).get_section_by_name(".symtab")
            start = symbols.get_symbol_by_name("mp_init")[0]["st_value"]
        began = board.run_to(start, START_S)
        assert began > 0
        used = wait_for_used(log, 2)
        assert board.instructions() - began > 1_000_000  # a loop of 100,000
        memory, registers = board.memory(0, RAM_SIZE)
    census = Census(Firmware(board.firmware), memory, registers, (FLASH_BASE, b""))
    assert abs(census.live - used) < 2048, (census.live, used)
    assert census.live + census.free > 120_000 and census.largest <= census.free
    assert sum(size for size, _ in census.by_kind.values()) == census.live
    assert sum(size for size, _ in census.by_owner.values()) == census.live
    assert census.by_kind["buffers"][0] >= 5000 and census.by_kind["instances"][1] >= 1
    assert "name_of_ours" in census.names_in_ram()
