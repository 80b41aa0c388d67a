"""Whether what is to be written fits on the board, known before the first byte is written."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from tidegate.boards import Board
from tidegate.flash.folder_session import FolderSession
from tidegate.flash.identify import Found
from tidegate.flash.serial_session import BoardError, Session

BLOCK = 4096  # bytes that a file takes a multiple of
SPARE = 16 * 1024  # bytes of the file system that stay free
PARTS = 4  # of the file system: two slots, a payload being fetched, everything else (firmware/boot/fileslots.py)
BESIDE = 80 * 1024  # bytes of the heap that the agent needs beside an image that runs from RAM
_REMEDY = "Remove files with `mpremote rm`, or flash with --wipe"


@dataclass(frozen=True)
class Wanted:
    """What a board shall hold. loader: where it is kept in files; packed: where it is an image of its own.

    payload: the image to install, if any; in_files: slots are files, which take room of the same file system.
    """

    files: Mapping[str, bytes]
    loader: Mapping[str, bytes]
    packed: bytes | None
    payload: bytes | None
    in_files: bool

    def most(self, session: Session | FolderSession, running: bool = False) -> int:
        """Bytes that must be free. running: the payload is installed already."""
        looked = session.digests(self.files)
        new = {path: data for path, data in self.files.items() if looked[path][0] != hashlib.sha256(data).hexdigest()}
        growth = sum(_blocks(len(data)) - _blocks(looked[path][1]) for path, data in new.items())
        largest = max((_blocks(len(data)) for data in new.values()), default=0)
        loader = sum(_blocks(len(data)) for data in self.loader.values()) + _blocks(len(self.packed or b""))
        image = 0 if self.payload is None or running else _blocks(len(self.payload)) * (2 if self.in_files else 1)
        return max(growth, 0) + largest + max(loader, image) + SPARE


def check(session: Session | FolderSession, wanted: Wanted, free: int, running: bool) -> None:
    """Refuse what does not fit into `free` bytes and what a flashing that was cut has left for this one."""
    left = sum(size for _digest, size in session.digests(["/tg/flash.img", "/tg/flash.img.new"]).values())
    needed = wanted.most(session, running)
    if free + left < needed:
        raise BoardError(
            f"the file system at {session.port} has {free + left} bytes free, flashing this takes {needed}", _REMEDY
        )


def check_slots(session: Session | FolderSession, data: bytes, again: bool) -> None:
    """Room for the staged image and its slot. again: the slot is a new file, which replaces none."""
    holds = session.size() // PARTS
    if len(data) > holds:
        raise BoardError(
            f"the image has {len(data)} bytes, a slot in a file at {session.port} holds {holds}",
            "Leave something out of firmware/, or use a MicroPython with a ROM segment",
        )
    left = sum(size for _digest, size in session.digests(["/tg/flash.img", "/tg/flash.img.new"]).values())
    free, needed = session.free() + left, _blocks(len(data)) * (2 if again else 1) + SPARE
    if free < needed:
        raise BoardError(
            f"the file system at {session.port} has {free} bytes free, an image in a file takes {needed}", _REMEDY
        )


def check_memory(found: Found, board: Board, size: int) -> None:
    """An image in a file is run from RAM, in one piece, beside the agent."""
    if found.heap_free < size + BESIDE:
        raise BoardError(
            f"the board at {found.port} has {found.heap_free} bytes of heap, an image of {size} bytes in a file "
            f"needs {size + BESIDE}",
            f"Use a MicroPython with a ROM segment (boards/{board.name}/README.md)",
        )


def _blocks(size: int) -> int:
    return -(-size // BLOCK) * BLOCK
