"""A calibration table on its way to the emulated board: taken without a restart, refused by the application, kept."""

from __future__ import annotations

from pathlib import Path

from lab import Installation
from shared_board import BOARD, DEVICE

from tidegate import rollout
from tidegate.names import DEFAULT_PRODUCT as PRODUCT

UPDATE_S = 60
TABLE = '{"temperature": [[0, %s], [4095, %s]]}'  # readings and what they stand for, in Cel


def release(place: Installation, sequence: int, table: str, *words: str) -> Path:
    """Builds, signs and publishes the table under this number; `words` for publishing."""
    file, out = place.folder / "table.json", place.folder / "data" / str(sequence)
    file.write_text(table)
    place.tidegate(
        *("data", "build", "calibration", file, "--board", BOARD, "--version", f"{sequence}.0"),
        *("--sequence", str(sequence), "--out", out),
    )
    place.tidegate("data", "sign", out, "--key", place.key("release"))
    place.tidegate("data", "publish", out, "--trust", place.trust, *words)
    return out


def temperature(place: Installation) -> float:
    return place.api.device(DEVICE)["telemetry"].get("temperature", {}).get("value", 0.0)


def held(place: Installation) -> dict:
    return place.api.device(DEVICE).get("data", {}).get("calibration", {})


def test_a_table_is_taken_without_a_restart_and_seen_in_telemetry(place: Installation) -> None:
    assert 16 < temperature(place) < 26 or place.wait("telemetry", lambda: 16 < temperature(place) < 26, UPDATE_S)
    nonce = place.api.device(DEVICE)["nonce"]
    before = place.last_report(DEVICE)
    release(place, 1, TABLE % (0, 165))
    report = place.wait_report(DEVICE, "confirmed", before, UPDATE_S)
    assert (report["component"], report["sequence"]) == ("calibration", 1)
    place.wait("a calibrated temperature", lambda: temperature(place) > 38, UPDATE_S)
    place.wait("the birth with the table", lambda: held(place).get("sequence") == 1, UPDATE_S)
    shown = place.api.device(DEVICE)
    assert shown["nonce"] == nonce, "the same boot"
    assert shown["version"] == "1.0.0" and held(place)["offer"]["state"] == "running"


def test_a_table_that_makes_no_sense_is_taken_back(place: Installation) -> None:
    before = place.last_report(DEVICE)
    release(place, 2, '{"temperature": [[0, 0], [0, 1]]}')
    report = place.wait_report(DEVICE, "rolled-back", before, UPDATE_S)
    assert (report["component"], report["verdict"]["code"]) == ("calibration", 19)
    assert "must rise" in report["detail"]
    assert held(place)["offer"]["state"] == "failed"
    assert temperature(place) > 38, "the old table is in use"


def test_a_rollout_of_a_table_that_is_refused_pauses_and_reaches_nobody_else(place: Installation) -> None:
    """Two waves: the board, and a device that a hash puts behind it."""
    key = f"{PRODUCT}/calibration/3"
    later = next(
        one for one in (f"later-{n}" for n in range(50)) if rollout.place(key, one) > rollout.place(key, DEVICE)
    )
    place.tidegate("device", "add", later, "--board", BOARD, "--out", place.folder / "later.json")
    before = place.last_report(DEVICE)
    release(place, 3, '{"temperature": [[5, 0], [4, 1]]}', "--hold")
    words = ("--to", "all", "--waves", "1,100%", "--soak", "0s", "--max-failures", "0", "--yes")
    place.tidegate("rollout", "start", "calibration@3.0", *words)
    report = place.wait_report(DEVICE, "rolled-back", before, UPDATE_S)
    assert (report["component"], report["sequence"]) == ("calibration", 3)

    def status() -> dict:
        return place.api.waves.status(PRODUCT, "calibration@3.0")

    place.wait("the rollout that pauses", lambda: status()["state"] == "paused", UPDATE_S)
    assert status()["why"] == "1 device failed, and at most 0 may"
    states = {one["id"]: (one["state"], one["why"]) for one in place.api.waves.devices(PRODUCT, "calibration@3.0")}
    assert states[DEVICE][0] == "rolled-back" and "must rise" in states[DEVICE][1]
    assert states[later] == ("waiting", None) and place.api.device(later)["data"] == {}
    assert temperature(place) > 38, "the old table is in use"


def test_the_table_outlives_power_cut_and_image(place: Installation) -> None:
    board = place.boards[0]
    board.power_cut()
    board.power_on()
    place.publish("1.1.0")
    place.wait_running(DEVICE, "1.1.0", 2 * UPDATE_S)
    place.wait("a calibrated temperature", lambda: temperature(place) > 38, UPDATE_S)
    assert held(place)["sequence"] == 1
    before = place.last_report(DEVICE)
    release(place, 4, TABLE % (-40, 125))
    place.wait_report(DEVICE, "confirmed", before, UPDATE_S)
    place.wait("the plain temperature", lambda: temperature(place) < 26, UPDATE_S)
