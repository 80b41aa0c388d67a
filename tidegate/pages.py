"""The index of the documentation, docs/README.md: groups, order and titles of `tidegate docs` and of the site."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_ENTRY = re.compile(r"- \[(.+)\]\((\S+)\): (.+)")


class Entry(NamedTuple):
    """A page of the index."""

    group: str
    title: str
    path: str  # as the link has it: relative to docs/
    about: str  # one line


def index(folder: Path) -> list[Entry]:
    """The pages that `folder`/README.md names, in its order; none where that file is missing."""
    path = folder / "README.md"
    return list(_entries(path.read_text(encoding="utf-8"))) if path.is_file() else []


def _entries(text: str) -> Iterator[Entry]:
    group = ""
    for line in text.splitlines():
        if line.startswith("## "):
            group = line[3:].strip()
        elif found := _ENTRY.fullmatch(line):
            title, path, about = found.groups()
            yield Entry(group, title, path, about)
