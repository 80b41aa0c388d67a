"""One manifest for boards of every age, and the way back: on the emulated board, with the real server and broker."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from lab import Installation
from lab.board import LabBoard
from shared_board import BOARD, CHANGES, DEVICE

UPDATE_S = 120
LATEST = ("1.3.0", 4)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """A board on 1.0.0; 1.1.0 to 1.3.0 are built, the last with patches from all before, and nothing is published."""
    with Installation(tmp_path_factory.mktemp("e2e") / "place") as made:
        made.make_keys()
        made.start_server()
        made.copy_source()
        made.build("1.0.0", 1)
        made.flash(made.add_board(DEVICE), DEVICE, "1.0.0")
        made.wait_running(DEVICE, "1.0.0", 60)
        made.change(CHANGES / "1.1.0.diff")
        app = made.application / "__init__.py"
        earlier = ["1.0.0"]
        for version, sequence in (("1.1.0", 2), ("1.2.0", 3), LATEST):
            app.write_text(app.read_text() + f"\nMADE = {version!r}\n")
            made.build(version, sequence, previous=earlier)
            earlier.insert(0, version)
        yield made


def sequences(place: Installation, board: LabBoard) -> tuple[int, int]:
    """What runs, and the floor."""
    found = board.slots()
    board.power_cut()  # the session at the console has stopped the application
    board.power_on()
    return found["slots"][found["running"]]["sequence"], found["floor"]


def test_three_releases_behind_takes_one_patch(place: Installation) -> None:
    target = place.index(LATEST[0])
    assert [patch["base_version"] for patch in target["patches"]] == ["1.2.0", "1.1.0", "1.0.0"]
    assert len((place.release(LATEST[0]) / f"{BOARD}.suit").read_bytes()) <= 700
    before = place.last_report(DEVICE)
    place.publish(LATEST[0])
    assert place.wait_report(DEVICE, "offered", before, UPDATE_S)["detail"] == "patch"
    place.wait_report(DEVICE, "confirmed", before, UPDATE_S)
    place.wait_running(DEVICE, LATEST[0], UPDATE_S)
    phases = [report["phase"] for report in place.reports(DEVICE, before)]
    assert phases.count("installed") == 1, "one step, not one a release"


def test_the_way_back_is_the_old_image_under_a_new_number(place: Installation) -> None:
    back = place.release("back")
    place.tidegate(
        *("release", "rollback", place.release("1.0.0"), "--sequence", "5", "--previous", place.release("1.3.0")),
        *("--out", back),
    )
    place.tidegate("release", "sign", back, "--key", place.key("release"))
    before = place.last_report(DEVICE)
    place.publish("back")
    assert place.wait_report(DEVICE, "offered", before, UPDATE_S)["detail"] == "patch"
    place.wait_report(DEVICE, "confirmed", before, UPDATE_S)
    shown = place.wait_running(DEVICE, "1.0.0", UPDATE_S)
    assert (shown["sequence"], shown["offer"]["state"]) == (5, "running")
    assert shown["digest"] == place.index("1.0.0")["image"]["digest"], "byte for byte"
    assert sequences(place, place.boards[0]) == (5, 5)
    place.wait_running(DEVICE, "1.0.0", UPDATE_S)


def test_the_image_that_runs_under_a_new_number_moves_only_the_floor(place: Installation) -> None:
    again = place.release("again")
    place.tidegate("release", "rollback", place.release("1.0.0"), "--sequence", "7", "--out", again)
    place.tidegate("release", "sign", again, "--key", place.key("release"))
    before = place.last_report(DEVICE)
    place.publish("again")
    assert place.wait_report(DEVICE, "current", before, UPDATE_S)["sequence"] == 7
    assert place.api.device(DEVICE)["offer"]["state"] == "running"
    assert sequences(place, place.boards[0]) == (5, 7)
