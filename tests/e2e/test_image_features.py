"""A gateway goes from an image that holds everything to one with less and back; what is left out says so."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from lab import Installation

from tidegate.commands import send

DEVICE = "gate-7"
LESS = '[image]\nfeatures = ["mqtt", "http", "commands", "data", "telemetry-ring"]\n'
NO_UPLINK = '[image]\nfeatures = ["coap", "http", "data"]\n'


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with Installation(tmp_path_factory.mktemp("features") / "place", target="unix") as made:
        made.make_keys()
        made.start_server()
        made.copy_source()
        made.declare_image(None)
        made.build("1.0.0", 1)
        made.flash(made.add_gateway(DEVICE), DEVICE, "1.0.0")
        made.wait_running(DEVICE, "1.0.0", 30)
        yield made


def ask(place: Installation, opcode: str, **arguments: Any) -> dict[str, Any]:
    sender = send.Sender(place.api, [place.key("command")])
    begun = sender.send(place.api.device(DEVICE), send.Request(opcode, arguments))
    return list(send.follow(place.api, begun, 60))[-1]


def update(place: Installation, version: str, sequence: int, previous: str) -> None:
    place.build(version, sequence, previous=previous)
    place.publish(version)
    place.wait_running(DEVICE, version, 60)
    place.wait_report(DEVICE, "confirmed", 0, 30)


def test_to_less_and_back(place: Installation) -> None:
    everything = ask(place, "ops")["result"]["answer"]
    assert "log.tail" in everything and "exec" in everything
    place.declare_image(LESS)
    update(place, "1.1.0", 2, "1.0.0")
    sizes = [place.index(version)["image"]["size"] for version in ("1.0.0", "1.1.0")]
    assert sizes[1] < 0.8 * sizes[0]
    offered = ask(place, "ops")["result"]["answer"]
    assert "info" in offered and "log.tail" not in offered and set(offered) < set(everything)
    for opcode in ("log.tail", "net"):
        told = ask(place, opcode)
        assert told["outcome"] == "refused" and f"{opcode} is not in this image" in told["why"]
    assert ask(place, "info")["result"]["answer"]["version"] == "1.1.0"
    place.declare_image(None)
    update(place, "1.2.0", 3, "1.1.0")
    assert ask(place, "log.tail", n=1)["outcome"] == "done"


def test_an_image_without_the_uplink_goes_back(place: Installation) -> None:
    before = place.last_report(DEVICE)
    place.declare_image(NO_UPLINK)
    place.build("1.3.0", 4, previous="1.2.0")
    place.publish("1.3.0")
    report = place.wait_report(DEVICE, "rolled-back", before, 60)
    assert report["sequence"] == 4
    place.wait_running(DEVICE, "1.2.0", 30)
    assert any("mqtt is not in this image" in line for board in place.boards for line in board.lines)
