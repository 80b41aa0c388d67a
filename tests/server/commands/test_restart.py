"""Commands that restart a device, as `tidegate cmd` treats them: done when the device is back, and nothing is signed
for a boot that is about to end. A real server; MQTT clients answer as docs/wire.cddl lets a device answer."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from mqtt_device import Device
from patience import limit
from server_process import KeyRing, ServerProcess, eventually

from tidegate.cli import main
from tidegate.commands import cwt, restarts
from tidegate.trust import keys

MAIN = (sys.executable, "-c", "import sys; from tidegate.cli import main; main(prog_name='tidegate')")
ASKED = {"reboot": True}


class Board:
    """Answers `reboot`, and has a new nonce when `comes_back` is called, or by itself after `away_s`."""

    def __init__(self, device: Device, away_s: float | None = None):
        self.device, self.away_s = device, away_s
        self.boots = 0
        self.asked: list[cwt.Command] = []
        self._seen = 0
        self._leaving = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.comes_back()
        self._thread.start()

    @property
    def nonce(self) -> bytes:
        return self.boots.to_bytes(8, "big")

    def comes_back(self) -> None:
        self.boots += 1
        self.device.born(_7=self.nonce, _8="hard")

    def _run(self) -> None:
        back_at = None
        while not self._leaving.wait(0.02):
            heard = [payload for topic, payload, _ in self.device.heard if topic.endswith("/cmd")]
            for message in heard[self._seen :]:
                self._seen += 1
                asked, _ = cwt.decode(message)
                self.asked.append(asked)
                if asked.opcode == "late":  # the answer was kept over the reset, and sent after the birth
                    self.comes_back()
                self.device.say("result", {1: asked.cti, 2: 0, 3: {} if asked.opcode == "info" else ASKED})
                if asked.opcode == "reboot" and self.away_s is not None:
                    back_at = time.monotonic() + self.away_s
            if back_at and time.monotonic() > back_at:
                back_at = None
                self.comes_back()

    def leave(self) -> None:
        self._leaving.set()
        self._thread.join()


class Place:
    """A server, its boards by id, and the command line of an operator with a command key."""

    def __init__(self, folder: Path):
        self.folder = folder
        ring = KeyRing(folder)
        keys.save(ring.command, folder / "command.jwk")
        self.server = ServerProcess(folder / "data", "--trust", str(ring.trust))
        self.boards: dict[str, Board] = {}

    def board(self, name: str, away_s: float | None = None) -> Board:
        made = self.boards[name] = Board(self.server.device(name), away_s)
        eventually(lambda: self.server.shown(name)["nonce"] == made.nonce.hex())
        return made

    def start(self, *words: str) -> subprocess.Popen[str]:
        environment = {
            **os.environ,
            "TIDEGATE_SERVER": self.server.url,
            "TIDEGATE_TOKEN_FILE": str(self.server.data / "admin.token"),
            "PYTHONUNBUFFERED": "1",
        }
        pipe = subprocess.PIPE
        command = [*MAIN, "cmd", "send", *words, "--key", "command.jwk"]
        return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=environment, cwd=self.folder)

    def send(self, *words: str, code: int = 0) -> str:
        """What `tidegate cmd send` printed; on stderr if nothing else."""
        process = self.start(*words)
        out, err = process.communicate(timeout=limit(120))
        assert process.returncode == code, out + err
        assert "Traceback" not in err
        return out or err

    def stop(self) -> None:
        for board in self.boards.values():
            board.leave()
        self.server.stop()
        assert "Traceback" not in self.server.log.read_text()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    made = Place(tmp_path_factory.mktemp("restart"))
    yield made
    made.stop()


def test_a_restart_is_done_when_the_device_is_back(place):
    board = place.board("gw-back", away_s=2)
    said = place.send("gw-back", "reboot")
    assert "gw-back answers reboot" in said and "gw-back is back after" in said and "1.0.0 (reset: hard)" in said
    assert board.boots == 2
    told = json.loads(place.send("gw-back", "reboot", "--json"))
    assert told["outcome"] == "done" and told["back"]["nonce"] == board.nonce.hex() and board.boots == 3
    assert 0.5 < told["back"]["after_s"] < 30 and told["back"]["reset_cause"] == "hard"
    assert "back" not in json.loads(place.send("gw-back", "info", "--json"))


def test_an_answer_that_came_after_the_birth(place):
    place.board("gw-late")
    assert json.loads(place.send("gw-late", "late", "--json"))["back"]["after_s"] < 20
    assert place.send("gw-late", "info", "--wait", "20")


def test_a_device_that_does_not_come_back(place):
    board = place.board("gw-gone")
    said = place.send("gw-gone", "reboot", "--wait", "3", code=1)
    assert "gw-gone answers reboot" in said and "has not come back in time" in said
    # Nothing is signed for the boot that ends: it would be void.
    said = place.send("gw-gone", "info", "--wait", "1", code=1)
    assert "is not back yet" in said and "tidegate device show gw-gone" in said
    told = json.loads(place.send("gw-gone", "info", "--wait", "0", "--json", code=1))
    assert "is not back yet" in told["error"]
    assert [one.opcode for one in board.asked] == ["reboot"]
    # It is signed when the device is back, for the boot that it has then.
    process = place.start("gw-gone", "info", "--wait", "60")
    time.sleep(1)
    assert process.poll() is None
    board.comes_back()
    out, err = process.communicate(timeout=limit(120))
    assert process.returncode == 0, out + err
    assert board.asked[-1].opcode == "info" and board.asked[-1].nonce == board.nonce


def test_without_waiting(place):
    board = place.board("gw-hasty")
    told = json.loads(place.send("gw-hasty", "reboot", "--wait", "0", "--json"))
    assert "back" not in told
    eventually(lambda: board.asked)


def interrupt(*_: Any) -> Any:
    raise KeyboardInterrupt


def test_ctrl_c_while_the_device_restarts(place, monkeypatch):
    place.board("gw-ctrl")
    words = ["cmd", "send", "gw-ctrl", "--key", str(place.folder / "command.jwk"), "--wait", "60"]
    environment = {"TIDEGATE_SERVER": place.server.url, "TIDEGATE_TOKEN_FILE": str(place.server.data / "admin.token")}
    with monkeypatch.context() as planted:
        planted.setattr(restarts, "await_back", interrupt)
        done = CliRunner().invoke(main, [*words, "reboot"], env=environment)
    assert done.exit_code == 130, done.output
    assert "1 device may still restart" in done.stderr and "tidegate device show gw-ctrl" in done.stderr
    with monkeypatch.context() as planted:
        planted.setattr(restarts, "rounds", interrupt)
        done = CliRunner().invoke(main, [*words, "info"], env=environment)
    assert done.exit_code == 130 and "Nothing was sent" in done.stderr, done.output


def test_a_group(place):
    server = place.server
    for name, away_s in (("hall-1", 1.0), ("hall-2", None)):
        place.board(name, away_s)
    groups = server.api("GET", "/groups")
    change = {"seen": groups["digest"], "groups": {"hall": {}}, "devices": {"hall-1": "hall", "hall-2": "hall"}}
    server.api("POST", "/groups", json=change)
    told = json.loads(place.send("--group", "hall", "reboot", "--wait", "5", "--json", code=1))["commands"]
    assert [(one["device"], one["outcome"]) for one in told] == [("hall-1", "done"), ("hall-2", "done")]
    assert told[0]["back"]["version"] == "1.0.0" and told[1]["back"] is None
    # The one that is not back is not signed for, and the others are not kept from being asked.
    said = place.send("--group", "hall", "info", "--wait", "2", code=1)
    lines = {line.split()[0]: line for line in said.splitlines() if line.strip()}
    assert "done" in lines["hall-1"] and "not sent" in lines["hall-2"] and "1 of 2 done" in said
    place.boards["hall-2"].comes_back()
    assert "2 of 2 done" in place.send("--group", "hall", "info", "--wait", "30")
    place.boards["hall-2"].away_s = 1.0
    said = place.send("--group", "hall", "reboot", "--wait", "60")
    assert said.count("back after") == 2 and "2 of 2 done" in said


# ---------------------------------------------------------------- when a restart is under way

BORN, NONCE = "2026-10-01T12:00:00.000Z", "00" * 8


def device(**more: Any) -> dict[str, Any]:
    shown = {"id": "gw", "online": True, "nonce": NONCE, "born": BORN, "last_seen": "2026-10-01T12:01:01.000Z"}
    return {**shown, "update": None, **more}


def answered(**more: Any) -> dict[str, Any]:
    told = {"device": "gw", "outcome": "done", "nonce": NONCE, "ended": "2026-10-01T12:01:00.000Z"}
    return {**told, "result": {"answer": {"reboot": True}}, **more}


@pytest.mark.parametrize(
    ("shown", "command", "under_way"),
    [
        (device(), answered(), True),
        (device(), answered(nonce=None), True),
        (device(), answered(nonce="11" * 8), False),  # of an earlier boot, answered late
        (device(), answered(ended="2026-10-01T11:59:59.000Z", nonce=None), False),
        (device(), answered(device="other"), False),
        (device(), answered(result={"answer": {"reboot": 1}}), False),
        (device(), answered(result=None), False),
        (device(), answered(outcome="failed"), False),
        (device(), answered(outcome=None, ended=None), False),
        (device(last_seen="2026-10-01T12:04:00.000Z"), answered(), True),
        (device(last_seen="2026-10-01T12:04:01.000Z"), answered(), False),  # it talks on: it did not restart
        (device(nonce=None, born=None), answered(), False),
        (device(update={"phase": "installed", "at": 1790856060000}), answered(outcome="failed"), True),
        (device(update={"phase": "installed", "at": 1790855999000}), answered(outcome="failed"), False),
        (device(update={"phase": "fetching", "at": 1790856060000}), answered(outcome="failed"), False),
    ],
)
def test_when_a_restart_is_under_way(shown, command, under_way):
    assert restarts.is_under_way(shown, [command]) is under_way
    assert not restarts.is_under_way(shown, []) or shown["update"]
