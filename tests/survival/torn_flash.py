"""What an erase or a write leaves when the power goes in the middle of it.

The rules are those of flash cells, as brickproof-fw (PyPI) states them: an erase moves bits from 0 to 1 only, a program
from 1 to 0 only, and which bits got there is chance. Its shapes are these, too: two that its authors measured on a real
chip (a share of the old 0 bits is left, spread over the page), and cruder ones (the first half, a random part, all but
one byte in 64; of a cell that is programmed the low half, the high half, a random part). test_survival.py compares.
"""

from __future__ import annotations

import random

ERASES = ("erase-early", "erase-late", "erase-half", "erase-partial", "erase-almost")
PROGRAMS = ("program-low", "program-high", "program-partial")
LEFT = {"erase-early": 0.045, "erase-late": 0.0035}  # the share of old 0 bits that an erase cut short leaves
CELL = 8  # bytes that are programmed at once


def erase(old: bytes, shape: str, chance: random.Random) -> bytes:
    """A block whose erase was cut; no bit of it is 0 that was 1."""
    size = len(old)
    if shape == "erase-half":
        return b"\xff" * (size // 2) + old[size // 2 :]
    if shape == "erase-partial":
        noise = chance.getrandbits(8 * size)
        return (int.from_bytes(old, "big") | noise).to_bytes(size, "big")
    if shape == "erase-almost":
        return bytes(byte if at % 64 == 17 else 0xFF for at, byte in enumerate(old))
    # A bit that is still 0 is drawn for each place; where the old bit was 1 nothing is left.
    left = bytearray(b"\xff" * size)
    for _ in range(round(8 * size * LEFT[shape])):
        at = chance.randrange(size)
        left[at] &= ~(1 << chance.randrange(8)) & 0xFF
    return bytes(a | b for a, b in zip(old, left, strict=True))


def program(old: bytes, new: bytes, shape: str, chance: random.Random) -> bytes:
    """Cells whose programming from `old` to `new` was cut: those before one are done, those behind it as they were."""
    cell = chance.randrange(len(new)) // CELL * CELL
    end = min(cell + CELL, len(new))
    size = end - cell
    before = int.from_bytes(old[cell:end], "little")
    clear = before & ~int.from_bytes(new[cell:end], "little")
    low = (1 << 4 * size) - 1
    if shape == "program-low":
        clear &= low
    elif shape == "program-high":
        clear &= ~low
    else:
        clear &= chance.getrandbits(8 * size)
    done = bytes(a & b for a, b in zip(old[:cell], new[:cell], strict=True))
    return done + (before & ~clear).to_bytes(size, "little") + old[end:]
