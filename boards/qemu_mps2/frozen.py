"""frozen.py FOLDER: lay out what the firmware with a frozen agent holds, for the Makefile.

FOLDER gets modules/ (compiled, to be frozen under the folder `tidegate`, so that nothing finds
them by a bare import), manifest.py, digests.h (their names and digests, for src/frozen.c) and
frozen.json, the same for the builder of images (tidegate/image/frozen.py).
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
BOARD = "qemu_mps2"
PLACE = "tidegate/"


def lay_out(folder: Path) -> None:
    from tidegate.image import compile_source, frozen
    from tidegate.image.build import compiled_library, without_const
    from tidegate.sources import Sources

    sources = Sources.checkout(ROOT)
    board = sources.board(BOARD)
    held = {}
    with tempfile.TemporaryDirectory(prefix="tidegate-") as name:
        scratch = Path(name)
        for place, path, module in compiled_library(sources, board, scratch):
            held[place] = module
            text = scratch / "source.py"
            text.write_text(without_const(path.read_text()))
            target = (folder / "modules" / place).with_suffix(".mpy")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(compile_source(text, PLACE + place, board, scratch))
    firmware = frozen.Firmware.of(BOARD, held)
    (folder / "manifest.py").write_text(
        f'include("$(PORT_DIR)/manifest.py")\nfreeze_mpy("{folder.resolve() / "modules"}")\n'
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


def _bytes(data: bytes) -> str:
    return "{" + ", ".join(f"0x{byte:02x}" for byte in data) + "}"


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    lay_out(Path(sys.argv[1]))
