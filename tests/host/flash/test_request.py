"""What `tidegate flash` refuses before it opens a port: settings that this board cannot follow."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tidegate.errors import TidegateError
from tidegate.flash.request import Request
from tidegate.sources import Sources

ROOT = Path(__file__).resolve().parents[3]


def request_for(board: str, folder: Path, **settings: object) -> Request:
    config = folder / "config.json"
    config.write_text(json.dumps({"board": board, **settings}))
    sources = Sources.checkout(ROOT)
    return Request(board=sources.board(board), sources=sources, config=config)


@pytest.mark.parametrize("settings", ({}, {"uplink": "mqtt"}, {"uplink": "both"}))
def test_a_board_without_a_network_is_told_of_its_cable(settings: dict[str, object], tmp_path: Path) -> None:
    with pytest.raises(TidegateError, match="a rpi_pico has none") as told:
        request_for("rpi_pico", tmp_path, **settings).settings()
    assert '"uplink": "usb"' in told.value.remedy and "tidegate link" in told.value.remedy


def test_who_has_one_or_takes_the_cable_is_not(tmp_path: Path) -> None:
    assert request_for("rpi_pico", tmp_path, uplink="usb").settings()
    assert request_for("rpi_pico_w", tmp_path).settings()
    assert request_for("unix", tmp_path).settings()
