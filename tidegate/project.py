"""Where the sources of an image are: the folder with `firmware/` and `boards/`."""

from __future__ import annotations

from pathlib import Path

from tidegate.errors import TidegateError


def find_root(start: Path | None = None) -> Path:
    """The project folder: the nearest one above `start` (default: here), else this checkout."""
    here = (start or Path.cwd()).resolve()
    for folder in (here, *here.parents, Path(__file__).resolve().parent.parent):
        if (folder / "firmware" / "lib").is_dir() and (folder / "boards").is_dir():
            return folder
    raise TidegateError(
        f"{here} is not inside a Tidegate project (no folder with firmware/ and boards/)",
        "Run this in the project, or name it with --source",
    )
