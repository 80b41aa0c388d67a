"""Which board and version of MicroPython a UF2 is for, as the tests of stock boards read it."""

from __future__ import annotations

from pathlib import Path

import pytest
import uf2

pytest.importorskip("mpremote")

import stock

BANNER = b"MicroPython v%s on 2025-12-09; "


def program(board: str, version: str) -> bytes:
    return bytes(5000) + BANNER % version.encode() + board.encode() + b"\0" + bytes(300)


@pytest.mark.parametrize("board", (stock.PICO, stock.PICO_W))
def test_a_uf2_says_which_board_and_version_it_is(board: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "some.uf2"
    path.write_bytes(uf2.uf2(program(board, "1.26.1")))
    assert stock.read(path) == stock.Stock(path, board, "1.26.1")
    monkeypatch.setenv(stock.VARIABLE, str(path))
    assert stock.named(board) == stock.Stock(path, board, "1.26.1")
    with pytest.raises(pytest.skip.Exception, match="is for a Raspberry Pi Pico"):
        stock.named(stock.PICO if board == stock.PICO_W else stock.PICO_W)


def test_another_file_is_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "some.uf2"
    path.write_bytes(uf2.uf2(program("Pimoroni Tiny 2040 with RP2040", "1.26.1")))
    monkeypatch.setenv(stock.VARIABLE, str(path))
    with pytest.raises(pytest.fail.Exception, match="no MicroPython for a Raspberry Pi Pico"):
        stock.named(stock.PICO)
    monkeypatch.delenv(stock.VARIABLE)
    assert stock.named(stock.PICO) is None
