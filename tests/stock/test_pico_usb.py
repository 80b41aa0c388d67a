"""The Raspberry Pi Pico with the MicroPython that boards/rpi_pico builds, through its USB alone: `tidegate flash` puts
an image into its ROM segment, `tidegate link` brings it to mosquitto and our server, and a signed patch, fetched over
the cable, is tried and confirmed. The firmware is the one that holds the agent.

`make boards` runs it, and with TIDEGATE_FULL=1 all of loader and image goes through the cable, too. The steps share one
board and follow one another, and the image is small. tests/stock/support/whole_line.py says what is patient for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import application
import pytest
import stock
from lab import Installation
from lab.pico_w import LabPicoW
from lab.usb_link import LabLink

pytest.importorskip("rp2040py", reason="`make boards` installs the emulator of the RP2040")

import delivery
import whole_line

DEVICE = "gate-pico"
VERIFIED_S = 240
STARTED_S = 400
PERIOD_S = 3  # of telemetry, in the board's time
FEATURES = ("mqtt", "http", "usb", "commands")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, frozen_firmware: Path) -> Iterator[Installation]:
    with Installation(
        tmp_path_factory.mktemp("pico") / "place", target="rpi_pico", uplink="usb", broker="mosquitto"
    ) as made:
        made.make_keys()
        made.start_server()
        made.copy_source()
        made.put_application(application.source("1.0.0"))
        made.declare_image(application.image(*FEATURES))
        made.leave_out(frozen_firmware.parent / "frozen" / "frozen.json")
        whole_line.patient_keepalive(made)
        made.build("1.0.0", 1)
        yield made


@pytest.fixture(scope="module")
def board(place: Installation, frozen_firmware: Path) -> Iterator[LabPicoW]:
    made = place.add_pico(DEVICE, delivery.prepared(place, "1.0.0", frozen_firmware), PERIOD_S)
    with whole_line.patient_server(place, DEVICE):
        yield made


@pytest.fixture(scope="module")
def link(place: Installation, board: LabPicoW) -> Iterator[LabLink]:
    made = LabLink(board, place.folder / f"{DEVICE}.config.json", patient=True)
    made.start()
    yield made
    made.stop()


@pytest.fixture(autouse=True)
def cost(board: LabPicoW, request: pytest.FixtureRequest) -> Iterator[None]:
    with whole_line.cost(request.node.name, board):
        yield


def test_it_is_flashed_through_its_usb(place: Installation, board: LabPicoW) -> None:
    said = stock.flash(place, board, DEVICE)
    assert "Raspberry Pi Pico with RP2040, MicroPython 1.25.0" in said
    assert "rom slot A boots: sequence 1" in said


def test_the_image_is_verified_and_started_in_its_rom_segment(board: LabPicoW) -> None:
    board.wait_line(r"slot A, sequence 1, verified", VERIFIED_S)
    board.wait_line(r"gate-pico, tidegate-gateway 1\.0\.0, sequence 1, slot A", STARTED_S)


def test_it_is_online_through_the_cable_with_its_telemetry(place: Installation, link: LabLink) -> None:
    link.wait_line(r": linked", whole_line.ONLINE_S)
    whole_line.wait_telemetry(place, DEVICE, link)


def test_a_signed_command_is_answered(place: Installation, link: LabLink) -> None:
    answer = whole_line.info(place, DEVICE)
    assert answer["version"] == "1.0.0" and answer["link"] is True


def test_a_signed_patch_is_fetched_tried_and_confirmed(place: Installation, link: LabLink) -> None:
    place.put_application(application.source("1.1.0"))
    reports = whole_line.update(place, DEVICE, link, "1.1.0", "1.0.0", "confirmed")
    phases = [report["phase"] for report in reports]
    assert phases.index("trial") < phases.index("confirmed"), phases
    assert place.wait_running(DEVICE, "1.1.0", whole_line.ONLINE_S)["sequence"] == 2
    assert any("slot B" in line and "1.1.0" in line for line in link.lines)
