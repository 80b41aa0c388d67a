"""A folder as a port: for boards that run in one, with a MicroPython that is there."""

from __future__ import annotations

from pathlib import Path

import pytest
from projects import ROOT

from tidegate import project
from tidegate.flash.flasher import open_session
from tidegate.flash.request import Request
from tidegate.flash.serial_session import BoardError


def request(name: str) -> Request:
    sources = project.sources_in(ROOT)
    return Request(board=sources.board(name), sources=sources)


def test_a_board_that_does_not_run_in_a_folder(tmp_path: Path) -> None:
    with pytest.raises(
        BoardError, match="qemu_mps2 does not run in one. Name the board's serial port, or give --board"
    ):
        open_session(f"unix:{tmp_path}", request("qemu_mps2"))


@pytest.mark.parametrize("program", ("nowhere", "."))
def test_a_micropython_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str) -> None:
    monkeypatch.setenv("TIDEGATE_UNIX_MICROPYTHON", str(tmp_path / program))
    with (
        pytest.raises(BoardError, match="there is no .*TIDEGATE_UNIX_MICROPYTHON"),
        open_session(f"unix:{tmp_path}", request("unix")),
    ):
        pass
    assert not list(tmp_path.iterdir())
