"""Identifies the board and its MicroPython at the other end of a session, and checks that our images can run there."""

from __future__ import annotations

from dataclasses import dataclass

from tidegate.boards import Board
from tidegate.boards.schema import ARCHITECTURES
from tidegate.errors import TidegateError
from tidegate.flash.folder_session import FolderSession
from tidegate.flash.serial_session import BoardError, Session
from tidegate.sources import Sources

MPY_VERSION = 6  # what mpy-cross 1.25 writes
MPY_SUB_VERSION = 3  # of machine code
_THUMB = ("armv6m", "armv7m", "armv7em", "armv7emsp", "armv7emdp")  # each runs the ones before it


@dataclass(frozen=True)
class Found:
    """What was found at a port. mpy: version, sub-version and core of .mpy files it loads; files: its file system."""

    port: str
    machine: str
    version: tuple[int, ...]
    mpy: int
    files: str
    heap_free: int
    unique_id: str

    @property
    def micropython(self) -> str:
        return ".".join(str(part) for part in self.version)

    @property
    def arch(self) -> str:
        """The core whose machine code it loads; "" for none."""
        number = self.mpy >> 10 & 0xF
        return ARCHITECTURES[number - 1] if 0 < number <= len(ARCHITECTURES) else ""


class Mismatch(BoardError):
    """The board is not the one that was named, or its MicroPython cannot run our images."""


def recognise(session: Session | FolderSession) -> Found:
    """The board at the other end of `session`, whatever it is; `check` compares it with a board.toml."""
    machine, version, mpy, files, heap = session.identify()
    try:
        unique_id = session.unique_id()
    except BoardError:  # a MicroPython without machine.unique_id
        unique_id = ""
    return Found(session.port, machine, version, mpy, files, heap, unique_id)


def check(found: Found, board: Board, sources: Sources) -> None:
    """Raise Mismatch unless images for `board` can run on the board that was found."""
    if board.machine not in found.machine:
        others = [name for name in sources.board_names() if _fits(sources, name, found.machine)]
        raise Mismatch(
            f"the board at {found.port} is a {found.machine!r}, not a {board.name}",
            f"It looks like --board {' or '.join(others)}"
            if others
            else f"Name its own board with --board; {board.name} answers as {board.machine!r}",
        )
    oldest = ".".join(str(part) for part in board.micropython)
    if found.version < board.micropython:
        raise Mismatch(
            f"the board at {found.port} has MicroPython {found.micropython}, {board.name} needs {oldest} or newer",
            f"boards/{board.name}/README.md says how it gets onto the board",
        )
    if found.mpy & 0xFF != MPY_VERSION:
        raise Mismatch(
            f"MicroPython {found.micropython} at {found.port} loads .mpy version {found.mpy & 0xFF}, "
            f"images have {MPY_VERSION}",
            f"Put a MicroPython of the {oldest} line on the board first",
        )
    if board.arch and not _runs(found, board.arch):
        raise Mismatch(
            f"images for {board.name} hold machine code for {board.arch}, "
            f"the MicroPython at {found.port} loads {found.arch or 'none'}",
            "Correct arch in its board.toml, or put the MicroPython made for this board on it",
        )
    if "Fat" in found.files:
        raise Mismatch(
            f"the file system at {found.port} is FAT, which a power cut can ruin",
            f"Make it littlefs, which erases its files: boards/{board.name}/README.md",
        )


def _fits(sources: Sources, name: str, machine: str) -> bool:
    try:
        return sources.board(name).machine in machine
    except TidegateError:  # a broken board.toml is not this command's problem
        return False


def _runs(found: Found, arch: str) -> bool:
    if found.mpy >> 8 & 3 != MPY_SUB_VERSION:
        return False
    if found.arch in _THUMB and arch in _THUMB:
        return _THUMB.index(arch) <= _THUMB.index(found.arch)
    return found.arch == arch
