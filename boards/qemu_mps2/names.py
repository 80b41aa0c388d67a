"""Writes src/names.h: the names that Tidegate's own code uses, for the firmware to have them in its flash.

A name that the firmware does not know is kept in RAM, 7 bytes each, as soon as the first module with it is loaded. The
list is only a gain, never a condition: what it lacks works as on any board. Run `make -C boards/qemu_mps2 names` when
tests/board/test_names.py says that it has grown old.
"""

from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
TARGET = Path(__file__).resolve().parent / "src" / "names.h"
FOLDERS = ("firmware/boot", "firmware/lib", "firmware/app")
MAX_LENGTH = 40
_PLAIN = re.compile(r"[\w./ :-]+\Z", re.ASCII)

HEADER = """\
// Names of Tidegate's own code, in flash instead of RAM. Written by ../names.py.
// clang-format off
"""


def used() -> set[str]:
    """Every name in the compiled modules that a line of the list can hold."""
    from tidegate.boards import board as boards_board
    from tidegate.image import build, mpy

    board = boards_board.load(ROOT, "qemu_mps2")
    found = set()
    with tempfile.TemporaryDirectory(prefix="tidegate-") as scratch:
        for folder in FOLDERS:
            for path in sorted((ROOT / folder).rglob("*.py")):
                name = path.relative_to(ROOT / "firmware").as_posix()
                module = mpy.parse(build.compile_source(path, name, board, Path(scratch)))
                found |= {text for entry in module.strings if (text := _text(entry))}
    return {text for text in found if _PLAIN.match(text) and len(text) <= MAX_LENGTH}


def known() -> set[str]:
    """The names in the list."""
    return set(re.findall(r"^Q\((.*)\)$", TARGET.read_text(), re.MULTILINE))


def _text(entry: bytes) -> str:
    """The name of a string table's entry; "" for one that every MicroPython has, which is only a number there."""
    at = head = 0
    while True:
        head = head << 7 | entry[at] & 0x7F
        at += 1
        if entry[at - 1] < 0x80:
            break
    return "" if head & 1 else entry[at : at + (head >> 1)].decode()


def main() -> None:
    TARGET.write_text(HEADER + "".join(f"Q({name})\n" for name in sorted(used())))


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main()
