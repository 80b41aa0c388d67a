"""A folder in the storage of an emulated board, whose programs run in place from there.

What is put there crosses no serial line: QEMU wakes up for each byte of one, 40 to 100 us of the host's processor.
"""

from __future__ import annotations

from pathlib import Path

from tidegate.boards.emulator import create_storage
from tidegate.image import Tree, pack

# The storage begins at this address of the emulated boards, and this much of it has a use: storage_layout.h.
_ADDRESS = 0x21000000
_OFFSET = 4 << 20


def put(storage: Path, contents: Path | Tree, at: str) -> str:
    """Write a folder into a storage file, made where there is none, of a board that does not run.

    Returns statements for the board that mount it, read only, at the path `at`. A soft reset unmounts it again.
    """
    image = pack(tree(contents) if isinstance(contents, Path) else contents)
    create_storage(storage)
    with storage.open("r+b") as file:
        file.seek(_OFFSET)
        file.write(image)
    view = f"__import__('uctypes').bytearray_at({_ADDRESS + _OFFSET}, {len(image)})"
    return f"import vfs; vfs.mount(vfs.VfsRom({view}), {at!r})"


def tree(folder: Path) -> Tree:
    """What is in a folder, in the form that images are packed from."""
    return {path.name: tree(path) if path.is_dir() else path.read_bytes() for path in sorted(folder.iterdir())}
