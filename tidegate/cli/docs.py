"""`tidegate docs`: the pages of the documentation that belong to this Tidegate, without a network."""

from __future__ import annotations

import difflib
from pathlib import Path

import click

from tidegate import library
from tidegate.cli._common import emit, json_option, rows, say
from tidegate.errors import TidegateError

_INNER = ("ci", "ops")  # folders of pages, beside those that lie in docs/ itself


@click.command(
    epilog="""\b
Examples:
  tidegate docs
  tidegate docs tutorial
  tidegate docs project | less"""
)
@click.argument("page", required=False)
@json_option
def docs(page: str | None, as_json: bool) -> None:
    """List the pages of the documentation, or print PAGE.

    They are those of this version. A page is named as in the list, or by its file, such as docs/project.md.
    """
    pages = _pages(library.folder() / "docs")
    if page is None:
        found = [{"page": name, "title": _title(path)} for name, path in pages.items()]
        emit(found, as_json, lambda value: rows(value, {"page": "PAGE", "title": "TITLE"}, "There are no pages."))
        return
    name = page.removeprefix("docs/").removesuffix(".md")
    if name not in pages:
        close = difflib.get_close_matches(name, pages, 1)
        remedy = (f"Did you mean {close[0]}? " if close else "") + "`tidegate docs` lists them all"
        raise TidegateError(f"there is no page {page}", remedy)
    text = pages[name].read_text(encoding="utf-8")
    emit({"page": name, "text": text}, as_json, lambda _: say(text, newline=False))


def _pages(folder: Path) -> dict[str, Path]:
    """Pages by name. TidegateError where this installation has none."""
    files = [path for inner in ("", *_INNER) for path in sorted((folder / inner).glob("*.md"))]
    if not files:
        raise TidegateError(f"this installation of Tidegate has no pages in {folder}", "Install the whole wheel again")
    return {path.relative_to(folder).with_suffix("").as_posix(): path for path in files}


def _title(path: Path) -> str:
    """Its first line, which is its heading."""
    with path.open(encoding="utf-8") as file:
        return file.readline().lstrip("# ").rstrip()
