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
SLOT_SHARE = 2, 7  # of the file system: two slots, a payload being fetched, the rest (firmware/boot/fileslots.py)
HEAP_NEEDED = 100 * 1024  # bytes of the heap for the agent and the example application, run from a file slot
_REMEDY = "Remove files with `mpremote rm`, or flash with --wipe"


@dataclass(frozen=True)
class Contents:
    """What a board is flashed with. loader: the loader's files; packed: its image, where it has a ROM range.

    payload: the image to install, if any; in_files: slots are files, which take space of the same file system.
    """

    files: Mapping[str, bytes]
    loader: Mapping[str, bytes]
    packed: bytes | None
    payload: bytes | None
    in_files: bool

    def bytes_needed(self, session: Session | FolderSession, running: bool = False) -> int:
        """Bytes of the file system that must be free. running: the board runs the payload already."""
        present = session.digests(self.files)
        new = {path: data for path, data in self.files.items() if present[path][0] != hashlib.sha256(data).hexdigest()}
        growth = sum(_blocks(len(data)) - _blocks(present[path][1]) for path, data in new.items())
        largest = max((_blocks(len(data)) for data in new.values()), default=0)
        loader = sum(_blocks(len(data)) for data in self.loader.values()) + _blocks(len(self.packed or b""))
        image = 0 if self.payload is None or running else _blocks(len(self.payload)) * (2 if self.in_files else 1)
        return max(growth, 0) + largest + max(loader, image) + SPARE


def check(session: Session | FolderSession, contents: Contents, free: int, running: bool) -> None:
    """Refuse contents that do not fit into `free` bytes and the files that an interrupted flashing left staged."""
    left = sum(size for _digest, size in session.digests(["/tg/flash.img", "/tg/flash.img.new"]).values())
    needed = contents.bytes_needed(session, running)
    if free + left < needed:
        raise BoardError(
            f"the file system at {session.port} has {free + left} bytes free, flashing this needs {needed}", _REMEDY
        )


def check_slots(session: Session | FolderSession, data: bytes, again: bool) -> None:
    """Refuse an image without space to stage it and for its slot. again: the slot is a new file that replaces none."""
    share, whole = SLOT_SHARE
    holds = session.size() * share // whole
    if len(data) > holds:
        raise BoardError(
            f"the image has {len(data)} bytes, a slot in a file at {session.port} holds {holds}",
            "Leave something out of firmware/, or use a MicroPython with a ROM segment",
        )
    left = sum(size for _digest, size in session.digests(["/tg/flash.img", "/tg/flash.img.new"]).values())
    free, needed = session.free() + left, _blocks(len(data)) * (2 if again else 1) + SPARE
    if free < needed:
        raise BoardError(
            f"the file system at {session.port} has {free} bytes free, an image in a file needs {needed}", _REMEDY
        )


def check_memory(found: Found, board: Board) -> None:
    """Refuse a board whose heap is too small for modules that are loaded from a file."""
    if found.heap_free < HEAP_NEEDED:
        raise BoardError(
            f"the board at {found.port} has {found.heap_free} bytes of heap, an image in a file needs {HEAP_NEEDED}",
            f"Use a MicroPython with a ROM segment (boards/{board.name}/README.md)",
        )


def _blocks(size: int) -> int:
    return -(-size // BLOCK) * BLOCK
