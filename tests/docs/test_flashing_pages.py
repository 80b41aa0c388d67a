"""The pages on flashing and on adding a board, from top to bottom.

Ground: bash, a real server, emulated Cortex-M3 boards.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from test_pages import run_page

pytestmark = [pytest.mark.board, pytest.mark.server]


def test_the_page_on_flashing(tmp_path: Path) -> None:
    printed = run_page("flashing.md", tmp_path)
    for expected in (
        "wrote: /main.py /tg/trust.cbor /tg/config.json /tg/credentials.json loader image 1.0.0",
        "rom slot A boots: sequence 1",
        "unchanged: /main.py loader image 1.0.0",
        "no differences",
        "/tg/trust.cbor differs",
        "gate-1 ",
        "gate-2 ",
        "020000000002  sequence 1",
    ):
        assert expected in printed, f"{expected!r} is missing in:\n{printed}"


def test_the_page_on_adding_a_board(tmp_path: Path) -> None:
    printed = run_page("adding-a-board.md", tmp_path)
    assert "rom slot A boots: sequence 1" in printed and printed.rstrip().endswith("no differences"), printed
