"""Whether a board is bricked, seen from outside: from its bytes and from what it starts, never from what it says.

Nothing of the loader is used here. The layout of the boot record is written down a second time (docs/flashing.md), and
a slot is whole when its bytes are those of an image that this run approved of.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

BLOCK = 4096
GOOD, INSTALLED = 2, 1
NONE = 0xFF
HEAD = struct.Struct("<4s8BII")  # magic, version, running, trial, 5 more, counter, floor
SLOT = struct.Struct("<IIB3x32s")
SIZE = HEAD.size + 2 * SLOT.size + 36 + 4 * 32 + 4


class Bricked(BaseException):
    """The board is lost, or runs what it must not; the text says which. Nothing on the board may catch it."""


@dataclass
class Slot:
    size: int
    sequence: int
    state: int
    digest: bytes


@dataclass
class Record:
    counter: int
    running: int
    trial: int
    floor: int
    slots: list[Slot]


def parse(data: bytes) -> Record | None:
    if len(data) != SIZE or zlib.crc32(data[:-4]) != int.from_bytes(data[-4:], "little"):
        return None
    magic, version, running, trial, *_, counter, floor = HEAD.unpack_from(data)
    if magic != b"TGBR" or version != 1 or running > 1:
        return None
    slots = [Slot(*SLOT.unpack_from(data, HEAD.size + index * SLOT.size)) for index in range(2)]
    return Record(counter, running, trial, floor, slots)


class Judge:
    """Looks at one board over the boots of a run. approved: {sequence: image bytes}."""

    def __init__(self, board, approved: dict[int, bytes]):
        self.board = board
        self.approved = approved
        self.promised = 0  # the highest number that was confirmed, flashed or raised to
        self.confirmed = 0  # the same without those raised to, which no image on the board has
        self.excused = False  # what the loader's options or keys are read from was damaged

    # ------------------------------------------------------------ the board's bytes

    def copies(self) -> list[bytes]:
        if self.board.slots == "rom":
            return [bytes(self.board._rom[at : at + SIZE]) for at in (0, BLOCK)]
        return [self._file(f"record.{copy}") for copy in range(2)]

    def record(self) -> Record | None:
        found = [record for record in map(parse, self.copies()) if record]
        return max(found, key=lambda record: record.counter) if found else None

    def content(self, index: int) -> bytes:
        if self.board.slots == "rom":
            capacity = (len(self.board._rom) - 2 * BLOCK) // 2 // BLOCK * BLOCK
            start = 2 * BLOCK + index * capacity
            return bytes(self.board._rom[start : start + capacity])
        return self._file(("a.img", "b.img")[index])

    def _file(self, name: str) -> bytes:
        try:
            with self.board.files._real[0](Path(self.board.folder) / "slots" / name, "rb") as file:
                return file.read()
        except OSError:
            return b""

    def whole(self, record: Record, index: int) -> bool:
        """Whether the slot holds, byte for byte, the approved image that the record says it does."""
        slot = record.slots[index]
        image = self.approved.get(slot.sequence)
        return image is not None and slot.size == len(image) and self.content(index)[: slot.size] == image

    def bootable(self) -> list[int]:
        """Sequences of the confirmed images that could run."""
        record = self.record()
        if record is None:
            return []
        return [
            record.slots[index].sequence
            for index in range(2)
            if (index == record.running or record.slots[index].state == GOOD)
            and record.slots[index].state in (GOOD, INSTALLED)
            and self.whole(record, index)
        ]

    # ------------------------------------------------------------ verdicts

    def before(self) -> None:
        """To be called before each boot."""
        self._could = self.bootable()

    def started(self, sequence: int, trial: bool, image: bytes) -> None:
        """The loader hands over to this image."""
        if self.approved.get(sequence) != image:
            raise Bricked(f"bytes that nobody approved run as sequence {sequence}")
        if sequence < self.confirmed:
            if trial:
                raise Bricked(f"sequence {sequence} is tried, though {self.confirmed} was confirmed")
            if max(self._could, default=0) >= self.confirmed:
                raise Bricked(f"sequence {sequence} runs, though {self.confirmed} was confirmed and is whole")

    def safe_mode(self) -> None:
        """The loader ended at its prompt. Right only when nothing could run."""
        if self._could and not self.excused:
            raise Bricked(f"safe mode, though sequence {max(self._could)} is whole")

    def at_the_end(self) -> None:
        """The floor, once the board came to rest."""
        record = self.record()
        if record and not self.excused and record.floor < self.promised:
            raise Bricked(f"the floor is {record.floor}, though {self.promised} was promised")
