"""A board whose network is off and whose only way to the server is its serial port and `tidegate link`, with TLS that
ends on the board.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import info_command
import pytest
from lab import Installation
from lab.usb_link import LabLink
from shared_board import CHANGES

from tidegate.flash.serial_session import Session

DEVICE = "gate-usb"
IMAGE = """[product]
name = "tidegate-gateway"
vendor = "tidegate.example"

[image]
features = ["mqtt", "http", "tls", "usb", "commands", "data", "telemetry-ring"]
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with Installation(tmp_path_factory.mktemp("usb") / "place", tls="server", uplink="usb") as made:
        made.make_keys()
        made.start_server()
        made.copy_source()
        made.declare_image(IMAGE)
        made.build("1.0.0", 1)
        board = made.add_board(DEVICE)
        made.flash(board, DEVICE, "1.0.0")
        yield made


@pytest.fixture(scope="module")
def link(place: Installation) -> Iterator[LabLink]:
    made = LabLink(place.boards[0], place.folder / f"{DEVICE}.config.json")
    made.start()
    yield made
    made.stop()


def test_telemetry_and_a_command(place: Installation, link: LabLink) -> None:
    place.wait_running(DEVICE, "1.0.0", 90)
    place.wait("telemetry", lambda: "temperature" in place.api.device(DEVICE)["telemetry"], 60)
    found = info_command.answer(place, DEVICE)
    assert found["version"] == "1.0.0" and found["link"] is True


def test_an_update_through_the_serial_port(place: Installation, link: LabLink) -> None:
    before = place.last_report(DEVICE)
    place.change(CHANGES / "1.1.0.diff")
    place.build("1.1.0", 2, previous="1.0.0")
    place.publish("1.1.0")
    place.wait_report(DEVICE, "confirmed", before, 120)
    assert place.wait_running(DEVICE, "1.1.0", 60)["sequence"] == 2


@pytest.mark.soak  # minutes on a busy machine: each frame waits for several processes to have their turn
def test_a_download_goes_on_where_the_link_was_killed(place: Installation, link: LabLink) -> None:
    """The whole image, which takes a while on this line; the link is killed in the midst of it."""
    before, sofar = place.last_report(DEVICE), moved(link)
    place.build("1.2.0", 3)
    place.publish("1.2.0")
    place.wait("some of the payload", lambda: moved(link) > sofar + 20_000, 120)
    assert link.kill() == -9
    link.start()
    place.wait_report(DEVICE, "confirmed", before, 300)
    assert place.wait_running(DEVICE, "1.2.0", 60)["sequence"] == 3


def moved(link: LabLink) -> int:
    """Bytes towards the board, as the link last said."""
    found = [re.search(r"(\d+) down so far", line) for line in link.lines]
    return max((int(match[1]) for match in found if match), default=0)


def test_a_session_of_flashing_takes_the_board_over_and_gives_it_back(place: Installation, link: LabLink) -> None:
    assert link.stop() == 130
    with place.boards[0].serial_port_free() as port, Session(port) as session:
        assert session.size() > 0
        session.reset()
    seen = len(link.lines)
    link.start()
    link.wait_line(r"connected and announced", 60, seen)
    assert info_command.answer(place, DEVICE)["sessions"] == 1
