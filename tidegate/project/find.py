"""Which sources a command works on: those around the folder that it is run in, and never any others."""

from __future__ import annotations

from pathlib import Path

from tidegate import library
from tidegate.errors import TidegateError
from tidegate.names import DEFAULT_PRODUCT
from tidegate.project.file import FILE, Project, load
from tidegate.sources import Sources

_REMEDY = "Make a project with `tidegate new NAME`, or name one with --source"


def find_sources(start: Path | None = None) -> Sources:
    """The sources of the nearest project or checkout above `start` (default: here); TidegateError if there is none."""
    here = (start or Path.cwd()).resolve()
    for folder in (here, *here.parents):
        found = _sources_of(folder)
        if found is not None:
            return found
    raise TidegateError(
        f"{here} is not inside a project (no folder with {FILE}, or with firmware/ and boards/)", _REMEDY
    )


def find_project(start: Path | None = None) -> Project:
    """The nearest project above `start` (default: here); TidegateError if there is none."""
    here = (start or Path.cwd()).resolve()
    for folder in (here, *here.parents):
        if (folder / FILE).is_file():
            return load(folder)
    raise TidegateError(
        f"{here} is not inside a project: there is no {FILE} here or above", "Make one: tidegate new NAME"
    )


def product_here() -> str:
    """The product of the project that we are in; Tidegate's own outside of any."""
    here = Path.cwd().resolve()
    inside = any((folder / FILE).is_file() for folder in (here, *here.parents))
    return find_project(here).product if inside else DEFAULT_PRODUCT


def sources_in(folder: Path) -> Sources:
    """The sources of the project or checkout `folder`, named with --source."""
    folder = folder.resolve()
    found = _sources_of(folder)
    if found is not None:
        return found
    raise TidegateError(f"{folder} is not a project: it has neither {FILE} nor firmware/ and boards/", _REMEDY)


def loader_sources(start: Path | None = None) -> Sources:
    """The sources to flash from: as find_sources, and outside of any project Tidegate's own, as flashing takes only
    loader and boards from them, never an application."""
    try:
        return find_sources(start)
    except TidegateError:
        return Sources.checkout(library.folder())


def _sources_of(folder: Path) -> Sources | None:
    """Those of the project or checkout that `folder` is; None if it is neither, TidegateError if half of one."""
    if (folder / FILE).is_file():
        return load(folder).sources
    if _is_checkout(folder):
        return Sources.checkout(folder)
    if (folder / "firmware" / "app").is_dir():
        raise _incomplete(folder)
    return None


def _is_checkout(folder: Path) -> bool:
    return (folder / "firmware" / "lib").is_dir() and (folder / "boards").is_dir()


def _incomplete(folder: Path) -> TidegateError:
    return TidegateError(
        f"{folder} has firmware/app, but neither {FILE} nor Tidegate's own firmware/lib beside it: "
        "whose libraries would be built into the image?",
        f'Write {FILE} there, with app = "firmware/app" in [image]; `tidegate new` shows what it holds',
    )
