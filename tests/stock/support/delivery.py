"""Files that a board has before it is flashed: its USB takes a quarter of an hour for them here. Flashing compares what
is there by its digest, and does the rest as ever.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import uf2
from lab import Installation
from pico import Pico

from tidegate import boards
from tidegate.dev import mapped_folder
from tidegate.flash import loader_files
from tidegate.release.folder import load_release
from tidegate.sources import Sources

FLASH = 2048 * 1024
_MAPPED = 0x10000000
_COPY = """
import os, uctypes
for path, at, size in {places!r}:
    for end in range(1, len(path)):
        if path[end] == "/":
            try:
                os.mkdir(path[:end])
            except OSError:
                pass
    with open(path, "wb") as file:
        file.write(uctypes.bytearray_at(at, size))
    with open(path, "rb") as file:
        if file.read() != uctypes.bytearray_at(at, size):
            raise OSError("%s arrived differently" % path)
"""


def whole() -> bool:
    """Whether all goes through the cable instead (TIDEGATE_FULL=1)."""
    return os.environ.get("TIDEGATE_FULL") == "1"


def prepared(place: Installation, version: str, firmware: Path) -> Path:
    """The UF2 of a board with this MicroPython, loader, and the release's image as flashing stages it."""
    if whole():
        return firmware
    board = boards.load(place.source, place.target)
    loader = loader_files.loader(Sources.checkout(place.source).library, board, signature=False)
    release = load_release(place.release(version))
    image = release.payload(release.targets[place.target].digest)
    path = place.folder / "prepared.uf2"
    path.write_bytes(uf2.uf2(_given(firmware, {**mapped_folder.staged(image, loader, board), **loader})))
    return path


def _given(firmware: Path, files: Mapping[str, bytes]) -> bytes:
    """The flash of a board to which the files were given, by its own driver; they come from behind the flash that a
    Pico has, where the emulator has more.
    """
    board = Pico(firmware)
    board.run(">>> ")
    places, at = [], FLASH
    for path, data in files.items():
        board.flash[at : at + len(data)] = data
        places.append((path, _MAPPED + at, len(data)))
        at += len(data) + -len(data) % 4
    board.execute(_COPY.format(places=places), 120)
    return bytes(board.flash[:FLASH])
