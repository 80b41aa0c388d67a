"""A folder in the storage of an emulated board, whose programs run in place from there.

What is put there crosses no serial line: QEMU wakes up for each byte of one, 40 to 100 us of the host's processor.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from tidegate.boards import Board
from tidegate.boards.emulator import create_storage
from tidegate.flash import flasher, loader_image
from tidegate.flash.serial_session import Session
from tidegate.image import Tree, pack

# Of the storage so much has a use (storage_layout.h). Where it lies a core knows, by its ROM segment.
_OFFSET = 4 << 20
_SEGMENT = 1 << 20
_COPY = """
with open({!r}, "rb") as given, open({!r}, "wb") as file:
    part = bytearray(4096)
    while count := given.readinto(part):
        file.write(memoryview(part)[:count])
"""


def put(storage: Path, contents: Path | Tree, at: str) -> str:
    """Write a folder into a board's storage file, made where there is none; a board that runs sees it at once.

    Returns statements for the board that mount it, read only, at the path `at`. A soft reset unmounts it again.
    """
    image = pack(tree(contents) if isinstance(contents, Path) else contents)
    create_storage(storage)
    with storage.open("r+b") as file:
        file.seek(_OFFSET)
        file.write(image)
    address = f"uctypes.addressof(vfs.rom_ioctl(2, 0)) + {_OFFSET - _SEGMENT}"
    return f"import uctypes, vfs; vfs.mount(vfs.VfsRom(uctypes.bytearray_at({address}, {len(image)})), {at!r})"


def staged(image: bytes, loader: Mapping[str, bytes], board: Board) -> dict[str, bytes]:
    """What is large of a flashing, as the flasher stages it on the board: the image and the loader's image."""
    _, packed = loader_image.split(dict(loader), board)
    return {flasher.STAGED: image, **({loader_image.STAGED: packed} if packed else {})}


def deliver(session: Session, storage: Path, files: Mapping[str, bytes]) -> None:
    """Put files on the running board whose storage this is. What a session finds there whole it does not send again."""
    session.run(put(storage, {str(number): data for number, data in enumerate(files.values())}, "/given"))
    for number, path in enumerate(files):
        for folder in reversed(PurePosixPath(path).parents[:-1]):
            session.run(f"_tg_folder({str(folder)!r})")
        session.run(_COPY.format(f"/given/{number}", path))
    session.run("vfs.umount('/given')")


def tree(folder: Path) -> Tree:
    """What is in a folder, in the form that images are packed from."""
    return {path.name: tree(path) if path.is_dir() else path.read_bytes() for path in sorted(folder.iterdir())}
