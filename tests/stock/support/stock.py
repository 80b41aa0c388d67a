"""Which MicroPython the tests of stock boards run: what TIDEGATE_UF2 names, or the one that is known here."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

import pytest
import uf2
from lab import Installation
from lab.pico_w import LabPicoW
from lab.processes import LabError

TRIES = 6
VARIABLE = "TIDEGATE_UF2"
PICO, PICO_W = "Raspberry Pi Pico with RP2040", "Raspberry Pi Pico W with RP2040"
_VERSION = re.compile(rb"\bv(\d+\.\d+(?:\.\d+)?)[-.\w]* on \d{4}-\d\d-\d\d\0?")


@dataclass(frozen=True)
class Stock:
    """path: the UF2; board: what its sys.implementation._machine says; version: of its MicroPython, as 1.27.0."""

    path: Path
    board: str
    version: str


def read(path: Path) -> Stock:
    """What a UF2 says of itself. Raises ValueError."""
    program = uf2.program(path.read_bytes())
    boards = [board for board in (PICO, PICO_W) if board.encode() in program]
    # The name is one text, or put together from the board's and the chip's.
    if not boards:
        boards = [board for board in (PICO_W, PICO) if board.partition(" with ")[0].encode() + b"\0" in program][:1]
    version = _VERSION.search(program)
    if len(boards) != 1 or not version:
        raise ValueError(f"{path} is no MicroPython for a Raspberry Pi Pico or Pico W")
    return Stock(path, boards[0], version[1].decode())


def named(board: str) -> Stock | None:
    """The UF2 of TIDEGATE_UF2, None if that names none; a test of another board than its is skipped."""
    name = os.environ.get(VARIABLE)
    if not name:
        return None
    try:
        found = read(Path(name).expanduser())
    except (OSError, ValueError) as error:
        pytest.fail(f"{VARIABLE}: {error}")
    if found.board != board:
        pytest.skip(f"{VARIABLE} is for a {found.board.partition(' with ')[0]}")
    return found


def flash(place: Installation, board: LabPicoW, device: str, version: str = "1.0.0") -> str:
    """What `tidegate flash` printed. As a person would: run again where the board was too slow for a session's
    deadlines, it goes on.
    """
    for attempt in range(TRIES):
        try:
            return place.flash(board, device, version)
        except LabError as error:
            assert "lost the board" in str(error) and attempt + 1 < TRIES, error
    raise AssertionError("unreachable")
