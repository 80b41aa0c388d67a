"""A fresh board on the bench becomes a device with nothing but a claim; copies, thieves and revoked boards are seen.

Real server, the emulated Cortex-M3 with the real firmware, a real serial line; the broker inside, and mosquitto.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import info_command
import pytest
from lab import Installation, LabBoard
from lab.installation import PRODUCT

from tidegate import enrolment
from tidegate.enrolment import Claim
from tidegate.flash.serial_session import Session
from tidegate.trust import keys

ENROL_S = 90
BOARD = "qemu_mps2"
_built: list[Path] = []  # keys, trust store and release of the first installation, for the second


@pytest.fixture(scope="module", params=["embedded", "mosquitto"])
def place(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Installation]:
    """An installation with a release, and no board."""
    with Installation(tmp_path_factory.mktemp("enrol") / "place", broker=request.param) as made:
        if _built:
            for name in ("keys", "releases", "source"):
                shutil.copytree(_built[0] / name, made.folder / name)
            shutil.copyfile(_built[0] / "trust.cbor", made.trust)
        else:
            made.make_keys()
        made.start_server()
        if not _built:
            made.copy_source()
            made.build("1.0.0", 1)
            _built.append(made.folder)
        yield made


def claim_for(place: Installation, name: str, *options: str) -> Path:
    """A claim in a file, as an operator makes it."""
    file = place.folder / f"{name}.claim"
    place.tidegate("device", "claim", "--trust", place.trust, "--out", file, *options)
    return file


def power_on(place: Installation, name: str, mac: str, storage: Path | None = None) -> LabBoard:
    board = LabBoard(place.folder / f"{name}.flash", mac)
    if storage is not None:
        shutil.copyfile(storage, place.folder / f"{name}.flash")
    place.boards.append(board)
    board.power_on()
    return board


@contextlib.contextmanager
def files_of(board: LabBoard) -> Iterator[Session]:
    """The board's files over its serial port; afterwards the board starts anew."""
    with board.serial_port_free() as port, Session(port) as session:
        yield session
        session.reset()


def type_claim(board: LabBoard, claim: Claim) -> None:
    """A person at the board's console: Ctrl-C, the two lines of docs/enrolment.md, Ctrl-D."""
    mark = len(board.lines)
    with Path(board.pty).open("wb", buffering=0) as line:
        line.write(b"\x03")
        board.wait_line("stopped at the console", 30, mark)
        line.write(b"from boot import claim\r")
        line.write(b'claim.put("' + claim.text.encode() + b'")\r')
        board.wait_line(f"claim {claim.id.hex()} is on the board; reset it to enrol", 30, mark)
        line.write(b"\x04")


def alarms(place: Installation, device: str) -> set[tuple[str, str]]:
    return {(row["kind"], row["reason"]) for row in place.api.alarms.listed(100, device)["alarms"]}


def wait_alarm(place: Installation, device: str, kind: str, reason: str) -> None:
    place.wait(f"the alarm {kind} {reason}", lambda: (kind, reason) in alarms(place, device), 60)


@pytest.fixture(scope="module")
def board(place: Installation) -> LabBoard:
    """A board that has enrolled as gate-7."""
    made = power_on(place, "gate-7", "02:00:00:74:69:07")
    said = place.flash_claimed(made, claim_for(place, "gate-7", "--name", "gate-7", "--board", BOARD), "1.0.0")
    assert "/tg/claim" in said and "/tg/credentials.json" not in said
    made.wait_line(r"enrolled as [0-9a-f]{32}, group default", ENROL_S)
    place.wait_running("gate-7", "1.0.0", ENROL_S)
    return made


def test_a_fresh_board_is_flashed_with_a_claim_and_answers(place: Installation, board: LabBoard) -> None:
    shown = place.api.device("gate-7")
    assert shown["id"] == shown["key"] and len(shown["id"]) == 32
    answer = info_command.ask(place, "gate-7")
    assert shown["id"] in json.dumps(answer), answer
    assert not alarms(place, "gate-7")
    text = (place.folder / "gate-7.claim").read_text()
    assert not any(text[22:65] in line for line in board.lines)
    with files_of(board) as session:
        files = session.list("/tg")
        assert "/tg/claim" not in files and {"/tg/key", "/tg/credentials.json", "/tg/trust.cbor"} <= set(files)
        assert session.value("open('/tg/trust.cbor', 'rb').read()") == place.trust.read_bytes()
    place.wait_running("gate-7", "1.0.0", 60)


def test_flashed_once_more_it_stays_what_it_is(place: Installation, board: LabBoard) -> None:
    device = place.api.device("gate-7")["id"]
    mark = len(board.lines)
    place.flash_claimed(board, place.folder / "gate-7.claim", "1.0.0")
    board.wait_line(rf"{device}, {PRODUCT} 1\.0\.0", 60, mark)
    board.wait_line("connected and announced", 60, mark)
    with files_of(board) as session:
        assert "/tg/claim" not in session.list("/tg")
    assert not alarms(place, "gate-7")


def test_a_stolen_claim_is_noticed(place: Installation, board: LabBoard) -> None:
    """Somebody photographed the claim, and is faster."""
    claim = enrolment.parse(claim_for(place, "gate-8", "--name", "gate-8").read_text())
    key = keys.new("release")
    about = enrolment.Request(key.public, claim.id, BOARD, PRODUCT, bytes(8), bytes(16))
    body = enrolment.encode_request(about, key.seed_for("release"), claim.secret)
    assert httpx.post(f"{place.url}/api/v1/enrol", content=body).status_code == 200
    thief = place.api.device("gate-8")["id"]
    mark = len(board.lines)
    with files_of(board) as session:  # the board that it was meant for; it has been wiped
        for name in ("credentials.json", "key"):
            session.remove(f"/tg/{name}")
        session.put("/tg/claim", claim.text.encode())
    board.wait_line(rf"enrolment: claim {claim.id.hex()}: the claim was used already", ENROL_S, mark)
    wait_alarm(place, "gate-8", "claim-reused", "other-key")
    assert "claim-reused" in place.tidegate("alarms", "list")
    place.tidegate("device", "revoke", "gate-8")
    assert place.api.device(thief)["revoked"]
    # A new claim, and it is a device after all: a new one, as its key was wiped.
    again = enrolment.parse(claim_for(place, "gate-9", "--name", "gate-9").read_text())
    mark = len(board.lines)
    type_claim(board, again)
    board.wait_line("enrolled as", ENROL_S, mark)
    place.wait_running("gate-9", "1.0.0", ENROL_S)


def test_a_revoked_board_is_out_and_a_claim_takes_it_back(place: Installation, board: LabBoard) -> None:
    device = place.api.device("gate-9")["id"]
    assert "gate-9" in place.tidegate("device", "revoke", "gate-9")
    if place.mosquitto:  # its files count from the next connection on
        board.power_cut()
        board.power_on()
    mark = len(board.lines)
    board.wait_line(r"refused|bad user|not authori[sz]ed|wrong user", 60, mark)
    shown = place.api.device(device)
    assert shown["revoked"] and not shown["online"]
    assert "revoked" in place.tidegate("device", "list")
    place.tidegate("cmd", "send", "gate-9", "info", "--key", place.key("command"), "--wait", "1", code=1)
    claim = enrolment.parse(claim_for(place, "back", "--device", "gate-9").read_text())
    mark = len(board.lines)
    type_claim(board, claim)
    board.wait_line(f"enrolled as {device}", ENROL_S, mark)
    place.wait_running("gate-9", "1.0.0", ENROL_S)


def test_a_copied_board_is_noticed(place: Installation, board: LabBoard) -> None:
    """Its flash was read out and put into another board."""
    board.power_off()
    copy = power_on(place, "copy", "02:00:00:74:69:99", place.folder / "gate-7.flash")
    wait_alarm(place, "gate-9", "cloned", "other-hardware")
    copy.power_off()
    board.power_on()
    assert place.api.device("gate-9")["cloned"]
    assert "cloned?" in place.tidegate("device", "list")
