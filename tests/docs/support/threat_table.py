"""Reads the tables of docs/threats.md."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
PAGE = ROOT / "docs" / "threats.md"
_TEST = re.compile(r"`(tests/[\w/.-]+\.py)::(\w+)`")


@dataclass(frozen=True)
class Row:
    """One threat. section: the heading above; tests: (file, function) of each that is named."""

    section: str
    threat: str
    gains: str
    answer: str
    tests: tuple[tuple[str, str], ...]


def rows() -> list[Row]:
    found, section = [], ""
    for line in PAGE.read_text().splitlines():
        if line.startswith("## "):
            section = line[3:]
        elif line.startswith("| ") and not line.startswith(("| threat |", "| attack |")):
            cells = [cell.strip() for cell in line.strip("|").split(" | ")]
            threat, gains, answer, tests = (cell.strip("| ") for cell in cells)
            found.append(Row(section, threat, gains, answer, tuple(_TEST.findall(tests))))
    return found


def named_tests() -> set[tuple[str, str]]:
    return {test for row in rows() for test in row.tests}
