"""`tidegate docs`: the pages of the documentation that belong to this Tidegate, without a network."""

from __future__ import annotations

import difflib
from itertools import groupby
from pathlib import Path

import click

from tidegate import library, pages, reference
from tidegate.cli._common import emit, json_option, say
from tidegate.errors import TidegateError

_NOT_TEXT = "reference/cli"  # every command's --help says the same


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

    They are those of this version. A page is named as in the list, or by its file, such as docs/project.md;
    so are the files that pages link to: wire.cddl, ops/alerts.yaml, decisions/0006-rollback.
    """
    found = _pages(library.folder() / "docs")
    if page is None:
        listed = [
            {"group": one.group, "page": name, "title": one.title, "about": one.about} for name, one in found.items()
        ]
        emit(listed, as_json, _show)
        return
    name = _name(page.removeprefix("docs/"))
    if name not in found:
        found |= _linked(library.folder() / "docs")
    if name not in found:
        close = difflib.get_close_matches(name, found, 1)
        remedy = (f"Did you mean {close[0]}? " if close else "") + "`tidegate docs` lists them all"
        raise TidegateError(f"there is no page {page}", remedy)
    path = library.folder() / "docs" / found[name].path
    if path.parent.name == "reference":
        text = reference.text(path, library.folder() / "firmware" / "lib")
    else:
        text = path.read_text(encoding="utf-8")
    emit({"page": name, "text": text}, as_json, lambda _: say(text, newline=False))


def _pages(folder: Path) -> dict[str, pages.Entry]:
    """Pages by name, in the order of the index, boards' own last. TidegateError where there are none."""
    found: dict[str, pages.Entry] = {}
    for one in pages.index(folder):
        if one.path.endswith(".md") and not one.path.startswith(("..", _NOT_TEXT)) and (folder / one.path).is_file():
            found[_name(one.path)] = one
    for path in sorted((folder.parent / "boards").glob("*/README.md")):
        found[f"boards/{path.parent.name}"] = pages.Entry(
            "Each board", _title(path), f"../{path.relative_to(folder.parent)}", ""
        )
    if not found:
        raise TidegateError(f"this installation of Tidegate has no pages in {folder}", "Install the whole wheel again")
    return found


def _linked(folder: Path) -> dict[str, pages.Entry]:
    """What pages link to and the list has not: records of decisions, the wire format, files for other programs."""
    files = (path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*")) if path.is_file())
    return {_name(path): pages.Entry("", "", path, "") for path in files if not path.startswith("reference/")}


def _name(path: str) -> str:
    return path.removesuffix(".md").removesuffix("/README")


def _title(path: Path) -> str:
    """Its first line, which is its heading."""
    with path.open(encoding="utf-8") as file:
        return file.readline().lstrip("# ").rstrip().replace("`", "")


def _show(listed: list[dict[str, str]]) -> None:
    """A table a group, all of the same width."""
    width = max(len(one["page"]) for one in listed)
    for group, members in groupby(listed, lambda one: one["group"]):
        if group != listed[0]["group"]:
            say("")
        say(group.upper())
        for one in members:
            say(f"  {one['page']:{width}}  {one['title']}")
