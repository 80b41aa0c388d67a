#!/usr/bin/env python3
"""The table of docs/boards.md, from every board.toml.

    .venv/bin/python tools/boards_table.py           prints it
    .venv/bin/python tools/boards_table.py --write   puts it into docs/boards.md

tests/board/test_boards_table.py compares the page with the files, and the files with MicroPython's sources.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from tidegate import boards
from tidegate.boards.board import Board

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "boards.md"
BEGIN, END = "<!-- made by tools/boards_table.py -->\n", "<!-- end -->\n"
_PROOFS = {"machine": "a PC", "emulator": "an emulator", "no": "sources read, stand-ins"}  # the strongest first
_HEAD = (
    "| board | MicroPython run with | sources read | `VfsRom` | ROM segment | slots | heap left | tried on |\n"
    "|---|---|---|---|---|---|---|---|\n"
)


def by_proof() -> list[Board]:
    """All boards of this repository, the best proved first."""
    found = [boards.load(ROOT, name) for name in boards.names(ROOT)]
    rank = list(_PROOFS)
    return sorted(found, key=lambda board: (rank.index(board.settings["tried"]), not _tried(board), board.name))


def table() -> str:
    """The table in Markdown, a row a board."""
    return _HEAD + "".join(_row(board) for board in by_proof())


def _row(board: Board) -> str:
    facts = board.settings["micropython"]
    segment, heap = facts["rom_segment"], facts.get("heap_left")
    cells = (
        f"[`{board.name}`](../boards/{board.name}/README.md)",
        ", ".join(_tried(board)) or "none",
        ", ".join(facts.get("read", ())) or "none",
        _from(facts.get("vfs_rom", ""), board) or "no",
        f"{segment // 1024} KiB" if segment else "none",
        _slots(board),
        f"{heap // 1000} KB" if heap else "not measured",
        _PROOFS[board.settings["tried"]],
    )
    return f"| {' | '.join(cells)} |\n"


def _slots(board: Board) -> str:
    since = board.settings["micropython"].get("rom_slots", "")
    if board.settings["slots"]["kind"] == "file" or not since:
        return "files"
    every = _from(since, board) == "yes"
    return "ROM" if every else f"ROM from {since}, before in files"


def _from(version: str, board: Board) -> str:
    """ "" for none, "yes" for every version that the board may have, else "from" one on."""
    if not version or tuple(map(int, version.split("."))) <= board.micropython:
        return "yes" if version else ""
    return f"from {version}"


def _tried(board: Board) -> list[str]:
    return list(board.settings["micropython"].get("tried", ()))


def filled(page: str) -> str:
    """The page with its table made anew. Raises ValueError if it has no place for one."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise ValueError(f"{PAGE} lacks the lines {BEGIN!r} and {END!r}")
    return before + begin + table() + end + after


def main() -> None:
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").splitlines()[0], epilog="Example: python tools/boards_table.py --write"
    )
    parser.add_argument("--write", action="store_true", help="put it into docs/boards.md")
    if parser.parse_args().write:
        PAGE.write_text(filled(PAGE.read_text()))
    else:
        print(table(), end="")


if __name__ == "__main__":
    main()
