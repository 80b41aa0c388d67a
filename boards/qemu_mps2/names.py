"""names.py FILE: write the names that Tidegate's own code uses, for the firmware to have them in its flash.

A name that the firmware does not know is kept in RAM, 7 bytes each, as soon as the first module with it is loaded. The
list is only a gain, never a condition: what it lacks works as on any board. A change of it makes all of MicroPython
compile anew, so a list that is there is left alone while it lacks at most one name in fifty. The Makefile calls this.
"""

from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
TARGET = ROOT / "build" / "names" / "names.h"
# "app/..." and so on are the names of the modules in them.
FOLDERS = ("firmware/boot", "firmware/lib", "examples/vehicle-gateway/app")
IN_PLACE = "firmware/native/*/in_place.py"  # lib/MODULE/in_place.py in the image
BOARD = "boards/qemu_mps2/board.py"  # boot/board.py on the board
MOUNTED = "/rom"  # where the loader mounts the image
LOADER = "/loader"  # where main.py mounts the loader
MAX_LENGTH = 40
MOST_MISSING = 1 / 50  # of the names in use
_PLAIN = re.compile(r"[ !#-\[\]-~]+\Z")  # what a line Q(...) can hold

HEADER = """\
// Names of Tidegate's own code, in flash instead of RAM. Written by boards/qemu_mps2/names.py.
// clang-format off
"""


def used() -> set[str]:
    """Every name in the compiled modules that a line of the list can hold."""
    from tidegate import boards
    from tidegate.image import compile_source, mpy

    board = boards.load(ROOT, "qemu_mps2")
    sources = {**_sources(), ROOT / BOARD: "boot/board.py"}
    found = set()
    imported = set()
    with tempfile.TemporaryDirectory(prefix="tidegate-") as scratch:
        for path, name in sources.items():
            module = mpy.parse(
                compile_source(path, name.removeprefix("lib/"), board, Path(scratch))
            )
            found |= {text for entry in module.strings if (text := _text(entry))}
            imported |= _imported(name)
    return {text for text in found if _PLAIN.match(text) and len(text) <= MAX_LENGTH} | imported


def _sources() -> dict[Path, str]:
    """Files, and their names beside the folder that they are in."""
    folders = [ROOT / folder for folder in FOLDERS]
    return {
        path: path.relative_to(folder.parent).as_posix()
        for folder in folders
        for path in sorted(folder.rglob("*.py"))
    } | {path: f"lib/{path.parent.name[1:]}/{path.name}" for path in sorted(ROOT.glob(IN_PLACE))}


def _imported(name: str) -> set[str]:
    """The names that MicroPython makes when it imports the module of the source file `name`: of the module and, where
    it is a package, of that, with dots; of its file and its folder, in the mounted image or loader; and the last part
    of the module's name, by which its package knows it.
    """
    place = f"{LOADER}/" if name.startswith("boot/") else f"{MOUNTED}/"
    module = name.removeprefix("lib/").removesuffix(".py").removesuffix("/__init__")
    folder = place + name.rpartition("/")[0]
    last = module.rpartition("/")[2]
    return {module.replace("/", "."), last, place + name.removesuffix(".py") + ".mpy", folder}


def known(target: Path = TARGET) -> set[str]:
    """The names in a list; none if there is no list."""
    return (
        set(re.findall(r"^Q\((.*)\)$", target.read_text(), re.MULTILINE))
        if target.exists()
        else set()
    )


def write(names: set[str], target: Path) -> bool:
    """Write the list, unless the one that is there is good enough; whether it was written."""
    there = known(target)
    if there and len(names - there) <= MOST_MISSING * len(names):
        return False
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(HEADER + "".join(f"Q({name})\n" for name in sorted(names)))
    return True


def _text(entry: bytes) -> str:
    """The name of a string table's entry; "" for one that every MicroPython has, which is only a number there."""
    at = head = 0
    while True:
        head = head << 7 | entry[at] & 0x7F
        at += 1
        if entry[at - 1] < 0x80:
            break
    return "" if head & 1 else entry[at : at + (head >> 1)].decode()


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    write(used(), Path(sys.argv[1]))
