"""A Raspberry Pi Pico with stock MicroPython, without VfsRom, ROM segment and radio: slots in files, and its network is
the USB cable. MicroPython's own definition of the board, built from Debian's sources with nothing of ours.

    make boards ARGS="-k pico_stock"
    TIDEGATE_UF2=/path/to/another.uf2 make boards ARGS="-k pico_stock"    a build of others (docs/boards.md)

The steps share one board and follow one another: a second of its time takes half a minute here.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator

import application
import mqtt_peer
import pytest
import stock
from lab import Installation
from lab.pico_w import LabPicoW
from lab.usb_link import LabLink

pytest.importorskip("rp2040py", reason="`make boards` installs the emulator of the RP2040")

import delivery

DEVICE = "gate-stock"
VERIFIED_S = 240
STARTED_S = 400
ONLINE_S = 600
LEAST_FREE = 60_000  # bytes of the heap beside the agent at rest, in use all the same


@pytest.fixture(scope="module")
def micropython(request: pytest.FixtureRequest) -> stock.Stock:
    return stock.named(stock.PICO) or stock.read(request.getfixturevalue("stock_firmware"))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, broker: socket.socket) -> Iterator[Installation]:
    with Installation(tmp_path_factory.mktemp("pico") / "place", target="rpi_pico", uplink="usb") as made:
        made.make_keys()
        made.start_server()
        made.copy_source()
        made.put_application(application.source("1.0.0"))
        made.declare_image(application.image("mqtt", "http", "usb"))
        made.build("1.0.0", 1)
        made.mqtt_port = broker.getsockname()[1]
        yield made


@pytest.fixture(scope="module")
def board(place: Installation, micropython: stock.Stock) -> LabPicoW:
    return place.add_pico(DEVICE, delivery.prepared(place, "1.0.0", micropython.path))


def test_it_is_flashed_with_slots_in_files(place: Installation, board: LabPicoW, micropython: stock.Stock) -> None:
    said = stock.flash(place, board, DEVICE)
    assert f"{stock.PICO}, MicroPython {micropython.version}" in said
    assert "file slot A boots: sequence 1" in said


def test_the_image_is_verified_and_started_from_its_file(board: LabPicoW) -> None:
    board.wait_line(r"slot A, sequence 1, verified", VERIFIED_S)
    board.wait_line(r"gate-stock, tidegate-gateway 1\.0\.0, sequence 1, slot A", STARTED_S)
    free, used = application.wait_heap(board, STARTED_S)
    print(f"heap: {free} bytes free, {used} in use")
    assert free > LEAST_FREE


def test_it_finds_its_broker_through_the_cable(place: Installation, board: LabPicoW, broker: socket.socket) -> None:
    link = LabLink(board, place.folder / f"{DEVICE}.config.json", patient=True)
    link.start()
    try:
        link.wait_line(r": linked", ONLINE_S)
        mqtt_peer.wait_connect(broker, DEVICE, ONLINE_S)
    finally:
        link.stop()
