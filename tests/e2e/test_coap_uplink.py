"""A board whose only way to the server is CoAP: telemetry, an update, a command, a server that comes back."""

from __future__ import annotations

from collections.abc import Iterator

import info_command
import pytest
from lab import Installation
from shared_board import CHANGES

DEVICE = "gate-coap"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with Installation(tmp_path_factory.mktemp("coap") / "place", uplink="coap") as made:
        made.make_keys()
        made.start_server()
        made.copy_source()
        made.build("1.0.0", 1)
        board = made.add_board(DEVICE)
        made.flash(board, DEVICE, "1.0.0")
        made.wait_running(DEVICE, "1.0.0", 90)
        yield made


def test_telemetry_and_a_command(place: Installation) -> None:
    place.wait("telemetry", lambda: "temperature" in place.api.device(DEVICE)["telemetry"], 60)
    found = info_command.answer(place, DEVICE)
    assert found["version"] == "1.0.0" and found["sessions"] == 1


def test_an_update_that_comes_over_coap_alone(place: Installation) -> None:
    before = place.last_report(DEVICE)
    place.change(CHANGES / "1.1.0.diff")
    place.build("1.1.0", 2, previous="1.0.0")
    place.publish("1.1.0")
    place.wait_report(DEVICE, "confirmed", before, 120)
    assert place.wait_running(DEVICE, "1.1.0", 60)["sequence"] == 2
    assert not any("http" in line for line in place.boards[0].lines)


def test_the_server_goes_away_and_comes_back(place: Installation) -> None:
    board = place.boards[0]
    place.stop_server()
    seen = len(board.lines)
    place.wait("the board noticing", lambda: any("again in" in line for line in board.lines[seen:]), 120)
    place.start_server()
    place.wait("the board being back", lambda: any("the server answers" in line for line in board.lines[seen:]), 120)
    found = info_command.answer(place, DEVICE)
    assert found["messages_dropped"] == 0 and found["uptime_s"] > 0


def test_coap_stands_in_while_the_broker_is_away(tmp_path_factory: pytest.TempPathFactory) -> None:
    with Installation(tmp_path_factory.mktemp("both") / "place", broker="mosquitto", uplink="both") as place:
        place.make_keys()
        place.start_server()
        place.copy_source()
        place.build("1.0.0", 1)
        board = place.add_board(DEVICE)
        place.flash(board, DEVICE, "1.0.0")
        place.wait_running(DEVICE, "1.0.0", 90)
        assert place.mosquitto is not None
        place.mosquitto.stop()
        board.wait_line(r"coap: the server answers", 90)
        board.wait_line(r"connected and announced", 60)

        def heard_at() -> str:
            return str(place.api.device(DEVICE)["last_seen"])

        def speaks() -> str:
            return str(place.api.device(DEVICE)["protocol"])

        before = heard_at()
        place.wait("telemetry without a broker", lambda: heard_at() > before, 60)
        assert info_command.answer(place, DEVICE)["packs_dropped"] == 0
        place.mosquitto.start()
        board.wait_line(r"the broker is back", 120)
        place.wait("the device's word over MQTT", lambda: speaks() == "mqtt", 60)
        assert info_command.answer(place, DEVICE)["sessions"] >= 3
