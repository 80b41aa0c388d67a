"""The loader on a board. Where it is executed in place, it is one ROMFS image behind the two blocks of the boot record.

Its header is written last. Before the old one is erased, the new one is in a file, whole; if the power fails meanwhile,
main.py writes it from there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import partial
from typing import Any

from tidegate.boards import Board
from tidegate.errors import TidegateError
from tidegate.flash import loader_files
from tidegate.flash.folder_session import FolderSession
from tidegate.flash.serial_session import Session
from tidegate.image import pack, romfs

PREFIX = "/boot/"  # of the files that belong into it
STAGED = "/tg/flash.loader"


def split(files: dict[str, bytes], board: Board) -> tuple[dict[str, bytes], bytes | None]:
    """(files for the file system, image of the others) from loader_files.loader; no image where all are files."""
    if not board.loader:
        return files, None
    tree: dict[str, Any] = {}
    for path, data in files.items():
        if path.startswith(PREFIX):
            *folders, name = path[1:].split("/")
            inner = tree
            for folder in folders:
                inner = inner.setdefault(folder, {})
            inner[name] = data
    packed = pack(tree)
    if len(packed) > board.loader.size:
        raise TidegateError(
            f"the loader has {len(packed)} bytes, {board.name} has {board.loader.size} reserved for it",
            "Enlarge loader_size in its board.toml and LOADER_SIZE in its board.py",
        )
    return {path: data for path, data in files.items() if not path.startswith(PREFIX)}, packed


def reach(board: Board) -> str:
    """Statements that make the package `boot` importable on the board, as its main.py does."""
    if not board.loader:
        return ""
    return (
        "import sys, vfs\n"
        "try:\n"
        f"    vfs.mount(vfs.VfsRom(vfs.rom_ioctl(2, {board.loader.segment})[{board.loader.offset}:]), '/loader')\n"
        "    sys.path.insert(0, '/loader')\n"
        "except OSError:\n"  # none there, or mounted already
        "    pass\n"
    )


def is_there(session: Session | FolderSession, board: Board) -> bool:
    """Whether the board has a loader already."""
    if not board.loader:
        return session.digest("/boot/options.mpy") is not None
    at = board.loader.offset
    return bool(
        session.value(f"bytes(__import__('vfs').rom_ioctl(2, {board.loader.segment})[{at}:{at + 3}])") == romfs.MAGIC
    )


def digest(session: Session | FolderSession, board: Board, size: int) -> str:
    """SHA-256, in hex, of the first `size` bytes of the loader's range."""
    if not board.loader:
        raise TidegateError(f"{board.name} has its loader in files", "Compare the files")
    at = board.loader.offset
    return str(
        session.value(
            "binascii.hexlify(hashlib.sha256("
            f"__import__('vfs').rom_ioctl(2, {board.loader.segment})[{at}:{at + size}]).digest()).decode()"
        )
    )


def install(
    session: Session | FolderSession, board: Board, packed: bytes, progress: Callable[[int, int], None] | None = None
) -> bool:
    """Write the loader's image; False if the board has it already. The new loader, run from RAM, writes it."""
    expected = hashlib.sha256(packed).hexdigest()
    if digest(session, board, len(packed)) == expected:
        return False
    session.put(STAGED, packed, progress)
    session.fresh()  # this needs half of a small board's heap in one piece
    session.run(
        "import os, sys, vfs\n"
        # Interned names stay inside this buffer: it must outlive the mount, to the end of the session.
        f"_tg_loader = bytearray({len(packed)})\n"
        f"open({STAGED!r}, 'rb').readinto(_tg_loader)\n"
        "vfs.mount(vfs.VfsRom(_tg_loader), '/staged')\n"
        "sys.path.insert(0, '/staged')\n"
        "from boot import board, flash\n"
        f"flash.install_loader(board.Board(), {STAGED!r}, bytes.fromhex({expected!r}), "
        "globals().get('_tg_step', lambda: None))\n"
        "del board, flash\n"
        "sys.path.remove('/staged')\n"
        "for _tg_name in list(sys.modules):\n"
        "    if _tg_name.split('.')[0] == 'boot':\n"
        "        del sys.modules[_tg_name]\n"
        "vfs.umount('/staged')\n",
        timeout=60,
    )
    session.remove(STAGED)
    return True


def replace(
    session: Session | FolderSession, files: dict[str, bytes], progress: Callable[[str, int, int], None]
) -> None:
    """Replace the old loader by one in files, as a whole or not at all.

    It arrives in a folder of its own, which is renamed when it is whole. From then on main.py can finish the rest.
    """
    if session.list(loader_files.NEXT):  # the power failed between the steps below
        _switch(session)
    for path in session.list(loader_files.STAGE):
        if path.removesuffix(".new").replace(loader_files.STAGE, loader_files.BOOT, 1) not in files:
            session.remove(path)
    for path, data in files.items():
        session.put(path.replace(loader_files.BOOT, loader_files.STAGE, 1), data, partial(progress, path))
    session.rename(loader_files.STAGE, loader_files.NEXT)
    _switch(session)


def _switch(session: Session | FolderSession) -> None:
    session.drop(loader_files.BOOT)
    session.rename(loader_files.NEXT, loader_files.BOOT)
