"""The types that editors and mypy are given of what an application imports: the project's folder typings/."""

from __future__ import annotations

from pathlib import Path

import tidegate
from tidegate import library
from tidegate.files import write_atomic

FOLDER = "typings"
_MARK = "tidegate-version"  # a file there: the Tidegate that wrote the rest


def put(project: Path) -> None:
    """Write them into a new project."""
    for path in _ours().rglob("*.pyi"):
        _copy(path, project)
    _mark(project / FOLDER)


def refresh(project: Path) -> bool:
    """Bring those of a project up to this Tidegate; whether anything was written.

    What a newer Tidegate wrote stays, so that two people with different ones do not undo each other's. So do files that
    are not ours, and so does a project whose owner has removed the folder.
    """
    folder = project / FOLDER
    if not folder.is_dir() or _numbers(_written_by(folder)) > _numbers(tidegate.__version__):
        return False
    stale = [path for path in sorted(_ours().rglob("*.pyi")) if not _same(path, folder / path.relative_to(_ours()))]
    for path in stale:
        _copy(path, project)
    if stale or _written_by(folder) != tidegate.__version__:
        _mark(folder)
    return bool(stale)


def _copy(path: Path, project: Path) -> None:
    target = project / FOLDER / path.relative_to(_ours())
    target.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(target, path.read_bytes())


def _ours() -> Path:
    return library.folder() / "firmware" / FOLDER


def _mark(folder: Path) -> None:
    write_atomic(folder / _MARK, f"{tidegate.__version__}\n".encode())


def _written_by(folder: Path) -> str:
    """ "" where nothing says it, as in projects from before the mark."""
    try:
        return (folder / _MARK).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def _numbers(version: str) -> tuple[int, ...]:
    """What of a version can be compared: its numbers up to the first part that is none."""
    found = []
    for part in version.partition("+")[0].split("."):
        if not (part.isascii() and part.isdigit()):
            break
        found.append(int(part[:9]))
    return tuple(found)


def _same(one: Path, other: Path) -> bool:
    return other.is_file() and one.read_bytes() == other.read_bytes()
