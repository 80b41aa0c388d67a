"""A Raspberry Pi Pico W as people buy it: MicroPython's own build, nothing added, on an emulated RP2040 with its radio.

    make boards ARGS="-k pico_w"
    TIDEGATE_UF2=/path/to/another.uf2 make boards ARGS="-k pico_w"    another build for this board (docs/boards.md)

`make boards` runs it. A second of the board's time takes half a minute here, so the steps share one board and follow
one another. Brokers and servers would give up on a board that slow: the last step has a peer that is patient.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator

import mqtt_peer
import pytest
import stock
from lab import Installation
from lab.pico_w import LabPicoW, fetch_firmware

pytest.importorskip("rp2040py", reason="`make boards` installs the emulator of the RP2040")

import delivery

DEVICE = "gate-p"
VERIFIED_S = 120
STARTED_S = 240
ONLINE_S = 400


@pytest.fixture(scope="module")
def micropython() -> stock.Stock:
    return stock.named(stock.PICO_W) or stock.read(fetch_firmware())


@pytest.fixture(scope="module")
def place(
    tmp_path_factory: pytest.TempPathFactory, broker: socket.socket, micropython: stock.Stock
) -> Iterator[Installation]:
    with Installation(tmp_path_factory.mktemp("pico") / "place", target="rpi_pico_w") as made:
        made.make_keys()
        made.start_server()
        made.copy_source()
        made.build("1.0.0", 1)
        made.mqtt_port = broker.getsockname()[1]
        yield made


@pytest.fixture(scope="module")
def board(place: Installation, micropython: stock.Stock) -> LabPicoW:
    return place.add_pico_w(DEVICE, firmware=delivery.prepared(place, "1.0.0", micropython.path))


def test_it_is_flashed_through_its_serial_port(place: Installation, board: LabPicoW, micropython: stock.Stock) -> None:
    said = stock.flash(place, board, DEVICE)
    assert f"{stock.PICO_W}, MicroPython {micropython.version}" in said
    assert "file slot A boots: sequence 1" in said


def test_the_loader_verifies_the_image_and_starts_the_application(board: LabPicoW) -> None:
    board.wait_line(r"slot A, sequence 1, verified", VERIFIED_S)
    board.wait_line(r"gate-p, tidegate-gateway 1\.0\.0, sequence 1, slot A", STARTED_S)


def test_it_finds_its_broker_through_its_wireless_lan(board: LabPicoW, broker: socket.socket) -> None:
    mqtt_peer.wait_connect(broker, DEVICE, ONLINE_S)
