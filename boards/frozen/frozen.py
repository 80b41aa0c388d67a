"""frozen.py BOARD MANIFEST FOLDER: lay out what a board's firmware with a frozen agent holds.

FOLDER gets modules/ (compiled, to be frozen under the folder `tidegate`, so that nothing finds
them by a bare import), manifest.py, which begins with the board's own MANIFEST, digests.h (names
and digests, for frozen.c beside this) and frozen.json, the same for the builder of images
(tidegate/image/frozen.py). The board's Makefile calls it.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PLACE = "tidegate/"
MOUNTED = "/rom/lib"  # where the loader mounts the image
NAMES = "names"  # a module that nobody imports, for names that imports make


def lay_out(name: str, manifest: str, folder: Path) -> None:
    from tidegate.image import compile_source, frozen
    from tidegate.image.build import compiled_library, without_const
    from tidegate.sources import Sources

    sources = Sources.checkout(ROOT)
    board = sources.board(name)
    held = {}
    with tempfile.TemporaryDirectory(prefix="tidegate-") as made:
        scratch = Path(made)
        for place, path, module in compiled_library(sources, board, scratch):
            held[place] = module
            text = scratch / "source.py"
            text.write_text(without_const(path.read_text()))
            target = (folder / "modules" / place).with_suffix(".mpy")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(compile_source(text, PLACE + place, board, scratch))
        (scratch / "empty.py").write_text("")
        empty = compile_source(scratch / "empty.py", f"{PLACE}{NAMES}.py", board, scratch)
    (folder / "modules" / f"{NAMES}.mpy").write_bytes(with_names(empty, imported(held)))
    firmware = frozen.Firmware.of(name, held)
    (folder / "manifest.py").write_text(
        f'include("{manifest}")\nfreeze_mpy("{folder.resolve() / "modules"}")\n'
    )
    lines = [
        f'    {{"{place}", {_bytes(digest)}}},'
        for place, digest in sorted(firmware.modules.items())
    ]
    (folder / "digests.h").write_text(
        f"#define FROZEN_DIGEST {_bytes(firmware.digest)}\n"
        "static const frozen_t frozen[] = {\n" + "\n".join(lines) + "\n};\n"
    )
    (folder / "frozen.json").write_text(firmware.encode())


def imported(places: Iterable[str]) -> set[str]:
    """The names that MicroPython makes when it imports these modules from a mounted image: of the
    module, of its file and its folder, and what its package knows it by.
    """
    from tidegate.image.build import dotted

    found = set()
    for place in places:
        module = dotted(place)
        folder = f"{MOUNTED}/{place}".rpartition("/")[0]
        found |= {module, module.rpartition(".")[2], folder}
        found.add(f"{MOUNTED}/{place.removesuffix('.py')}.mpy")
    return found


def with_names(module: bytes, names: Iterable[str]) -> bytes:
    """A compiled module with these names in its table, too. Frozen, they are in flash."""
    from tidegate.image import mpy

    found = mpy.parse(module)
    entries = [
        mpy.number(len(name.encode()) << 1) + name.encode() + b"\0" for name in sorted(names)
    ]
    counts = mpy.number(len(found.strings) + len(entries)) + mpy.number(len(found.constants))
    tables = b"".join([*found.strings, *entries, *found.constants])
    return module[:4] + counts + tables + module[found.code :]


def _bytes(data: bytes) -> str:
    return "{" + ", ".join(f"0x{byte:02x}" for byte in data) + "}"


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    lay_out(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
