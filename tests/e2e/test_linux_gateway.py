"""A Linux gateway with `file` slots: real server and broker, MicroPython's unix port.

Flashed into a folder, it takes a patch, proves and confirms it; a release that hangs is rolled back; power cuts and
tampering on the way are survived. Run once with each way of verification.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from lab import Installation, LabGateway
from shared_board import CHANGES

DEVICE = "gate-9"


@pytest.fixture(scope="module", params=["digest", "signature"])
def place(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Installation]:
    """An installation with a gateway that runs 1.0.0."""
    with Installation(tmp_path_factory.mktemp("unix") / "place", target="unix") as made:
        made.make_keys()
        made.start_server()
        made.copy_source()
        made.build("1.0.0", 1)
        said = made.flash(made.add_gateway(DEVICE), DEVICE, "1.0.0", "--verify", request.param)
        assert f"file slot A boots: sequence 1, {made.index('1.0.0')['image']['size']} bytes" in said
        assert f"its {request.param} verified" in said
        made.wait_running(DEVICE, "1.0.0", 30)
        yield made


def gateway(place: Installation) -> LabGateway:
    found = place.boards[0]
    assert isinstance(found, LabGateway)
    return found


def test_it_takes_a_patch_and_confirms_it(place: Installation) -> None:
    place.change(CHANGES / "1.1.0.diff")
    place.build("1.1.0", 2, previous="1.0.0")
    place.publish("1.1.0")
    shown = place.wait_running(DEVICE, "1.1.0", 60)
    assert shown["digest"] == place.index("1.1.0")["image"]["digest"]
    offered = place.wait_report(DEVICE, "offered", 0, 5)
    assert offered["detail"] == "patch"
    place.wait_report(DEVICE, "confirmed", 0, 20)
    slots = gateway(place).folder / "tg" / "slots"
    assert (slots / "b.img").stat().st_size == place.index("1.1.0")["image"]["size"]
    assert (slots / "b.suit").read_bytes() == (place.release("1.1.0") / "unix.suit").read_bytes()
    assert not list(slots.glob("*.new"))


def test_a_release_that_hangs_is_rolled_back(place: Installation) -> None:
    before = place.last_report(DEVICE)
    place.change(CHANGES / "1.2.0.diff")
    place.build("1.2.0", 3, previous="1.1.0")
    place.publish("1.2.0")
    report = place.wait_report(DEVICE, "rolled-back", before, 120)
    assert report["sequence"] == 3
    place.wait_running(DEVICE, "1.1.0", 30)


def test_flashing_a_gateway_that_runs_is_refused(place: Installation) -> None:
    board = gateway(place)
    done = place.run("flash", board.port, "--board", "unix", "--source", place.source)
    assert done.returncode == 1
    assert "is running" in done.stderr and "Stop it" in done.stderr


def test_power_cuts_cost_nothing(place: Installation) -> None:
    board = gateway(place)
    for _ in range(3):
        mark = len(board.lines)
        board.power_cut()
        board.power_on()
        board.wait_line(r"slot B, sequence 2, verified", 20, mark)
    place.wait_running(DEVICE, "1.1.0", 30)


def test_a_tampered_image_is_not_run(place: Installation) -> None:
    board = gateway(place)
    board.power_off()
    image = board.folder / "tg" / "slots" / "b.img"
    data = bytearray(image.read_bytes())
    data[len(data) // 2] ^= 1
    image.write_bytes(data)
    mark = len(board.lines)
    board.power_on()
    board.wait_line(r"slot B: not the image of its boot record", 20, mark)
    # The other slot held the release that was rolled back: nothing is left to run.
    board.wait_line(r"safe mode: no slot can be booted", 20, mark)
    assert not any("gate-9, tidegate-gateway" in line for line in board.lines[mark:])
    place.flash(board, DEVICE, "1.1.0")
    place.wait_running(DEVICE, "1.1.0", 30)
