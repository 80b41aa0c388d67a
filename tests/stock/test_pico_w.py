"""A Raspberry Pi Pico W as people buy it: MicroPython's own build, nothing added, on an emulated RP2040 with its radio.
Its slots are files, and what it imports is in RAM.

    make boards ARGS="-k pico_w"
    TIDEGATE_UF2=/path/to/another.uf2 make boards ARGS="-k pico_w"    another build for this board (docs/boards.md)

`make boards` runs it: `tidegate flash` through its serial port, mosquitto and our server through its wireless LAN, a
signed command, a signed patch that it tries and confirms, and a release that hangs, which its own watchdog ends and it
goes back from. The steps share one board and follow one another, and the image is small.
tests/stock/support/whole_line.py says what is patient for it.
"""

from __future__ import annotations

from collections.abc import Iterator

import application
import pytest
import stock
from lab import Installation
from lab.pico_w import LabPicoW, fetch_firmware

pytest.importorskip("rp2040py", reason="`make boards` installs the emulator of the RP2040")

import delivery
import whole_line

DEVICE = "gate-p"
VERIFIED_S = 120
STARTED_S = 240
ONLINE_S = 400
FEATURES = ("mqtt", "http", "commands")
PERIOD_S = 3  # of telemetry, in the board's time


@pytest.fixture(scope="module")
def micropython() -> stock.Stock:
    return stock.named(stock.PICO_W) or stock.read(fetch_firmware())


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with Installation(tmp_path_factory.mktemp("pico") / "place", target="rpi_pico_w", broker="mosquitto") as made:
        made.make_keys()
        made.start_server()
        made.copy_source()
        made.put_application(application.source("1.0.0"))
        made.declare_image(application.image(*FEATURES))
        whole_line.patient_keepalive(made)
        made.build("1.0.0", 1)
        yield made


@pytest.fixture(scope="module")
def board(place: Installation, micropython: stock.Stock) -> Iterator[LabPicoW]:
    made = place.add_pico_w(DEVICE, PERIOD_S, delivery.prepared(place, "1.0.0", micropython.path))
    with whole_line.patient_server(place, DEVICE):
        yield made


@pytest.fixture(autouse=True)
def cost(board: LabPicoW, request: pytest.FixtureRequest) -> Iterator[None]:
    with whole_line.cost(request.node.name, board):
        yield


def test_it_is_flashed_through_its_serial_port(place: Installation, board: LabPicoW, micropython: stock.Stock) -> None:
    said = stock.flash(place, board, DEVICE)
    assert f"{stock.PICO_W}, MicroPython {micropython.version}" in said
    assert "file slot A boots: sequence 1" in said


def test_the_loader_verifies_the_image_and_starts_the_application(board: LabPicoW) -> None:
    board.wait_line(r"slot A, sequence 1, verified", VERIFIED_S)
    board.wait_line(r"gate-p, tidegate-gateway 1\.0\.0, sequence 1, slot A", STARTED_S)


def test_it_is_online_through_its_wireless_lan_with_its_telemetry(place: Installation, board: LabPicoW) -> None:
    board.wait_line(r"mqtt: connected to ", ONLINE_S)
    whole_line.wait_telemetry(place, DEVICE, board)


def test_a_signed_command_is_answered(place: Installation) -> None:
    answer = whole_line.info(place, DEVICE)
    assert answer["version"] == "1.0.0" and answer["link"] is True


def test_a_signed_patch_is_fetched_tried_and_confirmed(place: Installation, board: LabPicoW) -> None:
    place.put_application(application.source("1.1.0"))
    reports = whole_line.update(place, DEVICE, board, "1.1.0", "1.0.0", "confirmed")
    phases = [report["phase"] for report in reports]
    assert phases.index("applying") < phases.index("trial") < phases.index("confirmed"), phases
    assert place.wait_running(DEVICE, "1.1.0", whole_line.ONLINE_S)["sequence"] == 2
    assert any("trial 1 of 3 of slot B, sequence 2" in line for line in board.lines)


def test_a_release_that_hangs_is_ended_by_the_watchdog_and_rolled_back(place: Installation, board: LabPicoW) -> None:
    place.put_application(application.source("1.2.0", hangs=True))
    reports = whole_line.update(place, DEVICE, board, "1.2.0", "1.1.0", "rolled-back")
    (ended,) = [report for report in reports if report["phase"] == "rolled-back"]
    assert ended["sequence"] == 3 and "watchdog" in ended["detail"], ended
    assert "confirmed" not in [report["phase"] for report in reports], reports
    assert place.wait_running(DEVICE, "1.1.0", whole_line.ONLINE_S)["sequence"] == 2
