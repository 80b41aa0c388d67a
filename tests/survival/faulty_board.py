"""The simulated board of the device tests, with flash and files that fail in more ways than by a cut.

A Trouble says what goes wrong next; the board asks it at each operation. Nothing here decides when: scenarios.py does.
"""

from __future__ import annotations

import io
import random

import torn_flash
from sim_board import BLOCK, SimBoard
from sim_files import Files

EIO, ENOSPC = 5, 28
ONCE = 1


class Trouble:
    """What may go wrong, and how often it did. Of one run; kept over its boots."""

    def __init__(self, chance: random.Random):
        self.chance = chance
        self.torn = False  # cuts leave what torn_flash says, not a clean part
        self.worn: dict[int, str] = {}  # block of the segment -> "error", "stuck-0", "stuck-1"
        self.failing = (0, 0)  # operations, from a number on and so many, that end in an OSError
        self.misreads: set[int] = set()  # which reads from now on give wrong bytes, by number
        self.reads = 0
        self.happened: dict[str, int] = {}

    def note(self, what: str) -> None:
        self.happened[what] = self.happened.get(what, 0) + 1

    def misread(self) -> bool:
        self.reads += 1
        if self.reads not in self.misreads:
            return False
        self.note("read errors")
        return True


class FaultyBoard(SimBoard):
    """A SimBoard with a Trouble, None while it is made ready."""

    trouble: Trouble | None = None

    def operation(self, name):
        cut = super().operation(name)
        if cut:
            if self.trouble:
                self.trouble.note("cuts")
            return True
        if self.trouble:
            first, count = self.trouble.failing
            if first <= self.operations < first + count:
                self.trouble.note("failed writes")
                raise OSError(ENOSPC if self.operations % 2 else EIO)
        return False

    def rom_erase(self, offset, length):
        trouble = self.trouble
        if not trouble:
            super().rom_erase(offset, length)
            return
        for start in range(offset, offset + length, BLOCK):
            worn = trouble.worn.get(start // BLOCK)
            old = bytes(self._rom[start : start + BLOCK])
            if self.operation(f"erase {start}"):
                if trouble.torn:
                    self._rom[start : start + BLOCK] = torn_flash.erase(
                        old, trouble.chance.choice(torn_flash.ERASES), trouble.chance
                    )
                else:
                    done = self.below(BLOCK + 1)
                    self._rom[start : start + done] = b"\xff" * done
                self.power_off()
            if worn == "error":
                trouble.note("failed writes")
                raise OSError(EIO)
            self._rom[start : start + BLOCK] = b"\xff" * BLOCK
            if worn == "stuck-0":  # a cell that cannot be erased any more
                trouble.note("failed writes")
                self._rom[start + trouble.chance.randrange(300)] &= 0xEF
            self.worn[start // BLOCK] += 1

    def rom_write(self, offset, data):
        trouble = self.trouble
        worn = trouble.worn.get(offset // BLOCK) if trouble else None
        if not trouble or not (worn or trouble.torn):
            super().rom_write(offset, data)
            return
        data = bytes(data)
        old = bytes(self._rom[offset : offset + len(data)])
        if self.operation(f"write {offset}+{len(data)}"):
            shape = trouble.chance.choice(torn_flash.PROGRAMS)
            self._rom[offset : offset + len(data)] = torn_flash.program(old, data, shape, trouble.chance)
            self.power_off()
        if worn == "error":
            trouble.note("failed writes")
            raise OSError(EIO)
        new = bytearray(a & b for a, b in zip(old, data, strict=True))
        if worn == "stuck-1":  # a cell that cannot be programmed any more, and nobody is told
            trouble.note("failed writes")
            at = trouble.chance.randrange(len(new))
            new[at] |= 1 << trouble.chance.randrange(8)
        self._rom[offset : offset + len(data)] = new

    def rom(self):
        if self.trouble and self.trouble.misread():
            return memoryview(self._misread())
        return super().rom()

    def _misread(self):
        """The segment as one read sees it that goes wrong: a bit of each copy of the record and of each slot."""
        seen = bytearray(self._rom)
        capacity = (len(seen) - 2 * BLOCK) // 2 // BLOCK * BLOCK
        for start, size in ((0, 300), (BLOCK, 300), (2 * BLOCK, 4096), (2 * BLOCK + capacity, 4096)):
            if self.trouble.chance.random() < 0.8:
                seen[start + self.trouble.chance.randrange(size)] ^= 1 << self.trouble.chance.randrange(8)
        return seen


class FaultyFiles(Files):
    """The files of such a board: a read may fail, or give wrong bytes."""

    def _open(self, path, mode="r", *rest, **named):
        board = self._board
        if self._ours(path) and "r" in mode and "+" not in mode and board.trouble and "/slots/" in str(path):
            file = self._real[0](path, mode, *rest, **named)  # a file that is not there is no read error
            if not board.trouble.misread():
                return file
            with file:
                data = bytearray(file.read())
            if board.trouble.chance.random() < 0.5 or not data:
                raise OSError(EIO)
            data[board.trouble.chance.randrange(len(data))] ^= 1 << board.trouble.chance.randrange(8)
            return io.BytesIO(data)
        return super()._open(path, mode, *rest, **named)
