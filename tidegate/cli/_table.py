"""What of a table fits on a terminal: ids and versions are never broken, prose is, and what has no room is left out."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

GAP = 2  # blanks between two columns
PROSE = 20  # characters that a column of sentences keeps at least
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
_UNITS = ((86400 * 365, "y"), (86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


@dataclass(frozen=True)
class Column:
    """heading; cells: text of each row; folds: whether its text may be broken into lines."""

    heading: str
    cells: tuple[str, ...]

    @property
    def folds(self) -> bool:
        return any(" " in cell for cell in self.cells)

    @property
    def width(self) -> int:
        """Characters of its longest line."""
        return max(len(line) for text in (self.heading, *self.cells) for line in text.split("\n"))

    @property
    def least(self) -> int:
        """Characters that it needs."""
        longest_word = max((len(word) for text in (self.heading, *self.cells) for word in text.split()), default=0)
        return min(self.width, max(PROSE, longest_word)) if self.folds else self.width


def fitting(columns: Sequence[Column], width: int) -> tuple[list[Column], list[str]]:
    """The first columns that fit into `width` characters, one at least, and the headings of the others."""
    room = width + GAP
    shown: list[Column] = []
    for column in columns:
        room -= column.least + GAP
        if room < 0 and shown:
            break
        shown.append(column)
    return shown, [column.heading for column in columns[len(shown) :]]


def age(text: str, now: datetime | None = None) -> str:
    """A time as "5 s ago" or "in 3 h"; any other text as it is."""
    if not _TIME.fullmatch(text):
        return text
    seconds = ((now or datetime.now(UTC)) - datetime.fromisoformat(text)).total_seconds()
    size, unit = next(((size, unit) for size, unit in _UNITS if abs(seconds) >= size), (1, "s"))
    count = int(abs(seconds) // size)
    return f"{count} {unit} ago" if seconds >= 0 else f"in {count} {unit}"
