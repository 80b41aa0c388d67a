"""`tidegate cmd` as people use it: one device, a group, long answers, Ctrl-C; against a real server, with MQTT clients
that answer as docs/wire.cddl lets a device answer."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from mqtt_device import Device
from patience import limit
from server_process import KeyRing, ServerProcess, eventually

from tidegate.commands import cwt
from tidegate.trust import keys

MAIN = (sys.executable, "-c", "import sys; from tidegate.cli import main; main(prog_name='tidegate')")
Answer = Callable[[cwt.Command], list[dict[int, Any]]]


class Gateway:
    """Answers every command it hears with what `answers` has for its opcode."""

    def __init__(self, device: Device, answers: dict[str, Answer]):
        self.device, self._answers, self._seen = device, answers, 0
        self._leaving = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        device.born()
        self._thread.start()

    def _run(self) -> None:
        while not self._leaving.wait(0.02):
            heard = [payload for topic, payload, _ in self.device.heard if topic.endswith("/cmd")]
            for message in heard[self._seen :]:
                self._seen += 1
                asked, _ = cwt.decode(message)
                for part in self._answers.get(asked.opcode, lambda _asked: [])(asked):
                    self.device.say("result", {1: asked.cti, **part})

    def leave(self) -> None:
        self._leaving.set()
        self._thread.join()


def done(answer: dict[str, Any]) -> Answer:
    return lambda _asked: [{2: 0, 3: answer}]


OPS = {
    "log.tail": [1, 20, False, {"n": ["int", 1, 200, 20]}],
    "reboot": [2, 10, False, {}],
    "valve.set": [2, 10, True, {"percent": ["int", 0, 100], "now": ["bool"], "name": ["str", 1, 8]}],
}
ANSWERS: dict[str, Answer] = {
    "info": lambda asked: [{2: 0, 3: {"version": "1.0.0", **asked.arguments}}],
    "log.tail": lambda _asked: [
        {2: 3, 5: [0, True], 6: "boot\n"},
        {2: 3, 5: [1, True], 6: "connected\n"},
        {2: 0, 3: {"lines": 2}, 5: [2, False]},
    ],
    "ops": done(OPS),
    "fail": lambda _asked: [{2: 1, 4: "ValueError: it broke"}],
    "fly": lambda _asked: [{2: 2, 4: "opcode: fly is not offered here"}],
}


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ServerProcess, Path]]:
    """A server with two devices that answer, one that hears and says nothing, and one that was never there."""
    folder = tmp_path_factory.mktemp("cmd")
    ring = KeyRing(folder)
    keys.save(ring.command, folder / "command.jwk")
    server = ServerProcess(folder / "data", "--trust", str(ring.trust))
    gateways = [Gateway(server.device(name), ANSWERS) for name in ("gw-1", "gw-2")]
    gateways.append(Gateway(server.device("gw-silent"), {}))
    server.register("gw-unborn")
    eventually(lambda: all(server.shown(g.device.id)["nonce"] for g in gateways))
    yield server, folder
    for gateway in gateways:
        gateway.leave()
    server.stop()
    assert "Traceback" not in server.log.read_text()


def start(fleet: tuple[ServerProcess, Path], *words: str) -> subprocess.Popen[str]:
    server, folder = fleet
    environment = {
        **os.environ,
        "TIDEGATE_SERVER": server.url,
        "TIDEGATE_TOKEN_FILE": str(server.data / "admin.token"),
        "PYTHONUNBUFFERED": "1",
    }
    pipe = subprocess.PIPE
    return subprocess.Popen([*MAIN, *words], stdout=pipe, stderr=pipe, text=True, env=environment, cwd=folder)


def run(fleet: tuple[ServerProcess, Path], *words: str, code: int = 0) -> str:
    process = start(fleet, *words)
    out, err = process.communicate(timeout=limit(120))
    assert process.returncode == code, out + err
    assert "Traceback" not in err
    return out if code != 2 and out else err


def send(fleet: tuple[ServerProcess, Path], *words: str, code: int = 0) -> str:
    return run(fleet, "cmd", "send", *words, "--key", "command.jwk", code=code)


def test_one_device(fleet):
    said = send(fleet, "gw-1", "info", "n=7", "text=ü", "raw=hex:0102", 'word="7"')
    assert "gw-1 answers info" in said and "0102" in said and "ü" in said and "1.0.0" in said
    told = json.loads(send(fleet, "gw-1", "info", 'word="7"', "--json"))
    assert (told["outcome"], told["result"]["answer"]["word"], told["role"]) == ("done", "7", "command")
    assert "gw-1 failed at fail: ValueError: it broke" in send(fleet, "gw-1", "fail", code=1)
    assert "fly was refused by gw-1: opcode: fly is not offered here" in send(fleet, "gw-1", "fly", code=1)


def test_a_long_answer(fleet):
    assert send(fleet, "gw-1", "log", "tail", "n=2") == "boot\nconnected\n" + "gw-1 answers log.tail\nlines  2\n"
    told = json.loads(send(fleet, "gw-1", "log.tail", "--json"))
    assert told["output"] == "boot\nconnected\n" and told["opcode"] == "log.tail"


def test_a_silent_device_show_list_and_cancel(fleet):
    said = send(fleet, "gw-silent", "info", "--wait", "1", code=1)
    assert "gw-silent has not answered" in said and "cmd cancel" not in said
    cti = said.split("tidegate cmd show ")[1].split()[0]
    shown = run(fleet, "cmd", "show", cti)
    assert "gw-silent" in shown and "uplinked" in shown and "taken by the broker" in shown
    refused = run(fleet, "cmd", "cancel", cti, code=1)
    assert "being sent to gw-silent" in refused and "cannot be cancelled" in refused
    assert cti in run(fleet, "cmd", "list", "--device", "gw-silent", "--state", "uplinked")
    assert run(fleet, "cmd", "list", "--device", "gw-silent", "--state", "archived") == "No command was sent.\n"
    listed = json.loads(run(fleet, "cmd", "list", "--limit", "1", "--json"))["commands"]
    assert [row["cti"] for row in listed] == [cti]
    assert "16 hex digits" in run(fleet, "cmd", "show", "12", code=1)


def test_a_group(fleet):
    said = send(fleet, "--group", "default", "info", "--wait", "8", code=1)
    lines = {line.split()[0]: line for line in said.splitlines() if line.strip()}
    assert "done" in lines["gw-1"] and "version=1.0.0" in lines["gw-2"]
    assert "uplinked" in lines["gw-silent"] and "has not answered" in lines["gw-silent"]
    assert "not sent" in lines["gw-unborn"] and "has never connected" in lines["gw-unborn"]
    assert said.endswith("\n2 of 4 done.\n")
    told = json.loads(send(fleet, "--group", "default", "log", "tail", "--wait", "8", "--json", code=1))["commands"]
    assert [one["device"] for one in told] == ["gw-1", "gw-2", "gw-silent", "gw-unborn"]
    assert told[0]["output"] == told[1]["output"] == "boot\nconnected\n" and "error" in told[3]
    assert len({one["cti"] for one in told[:3]}) == 3, "each is signed for one device"
    assert "has no devices" in send(fleet, "--group", "none", "info", code=1)


def test_ctrl_c_leaves_the_command_and_says_how_to_go_on(fleet):
    process = start(fleet, "cmd", "send", "gw-silent", "info", "--key", "command.jwk", "--wait", "100")
    server = fleet[0]
    before = len(server.api("GET", "/commands", params={"device": "gw-silent", "limit": 500})["commands"])
    query = {"device": "gw-silent", "limit": 500}
    eventually(lambda: len(server.api("GET", "/commands", params=query)["commands"]) > before or process.poll())
    newest = eventually(lambda: (c := server.api("GET", "/commands", params=query)["commands"][0])["uplinked"] and c)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=limit(60))
    assert process.returncode == 130 and "Traceback" not in err
    assert f"tidegate cmd show {newest['cti']}" in err and f"tidegate cmd cancel {newest['cti']}" in err
    assert server.api("GET", f"/commands/{newest['cti']}")["state"] == "uplinked"


def test_what_a_device_offers(fleet):
    nobody = run(fleet, "cmd", "ops", "gw-2", code=1)
    assert "has no answer of gw-2" in nobody and "--key" in nobody
    said = run(fleet, "cmd", "ops", "gw-2", "--key", "command.jwk")
    assert "log.tail" in said and "[n=20: 1..200]" in said and "operate" in said and "10 s, heavy" in said
    assert "percent=0..100" in said and "now=true|false" in said and "name=str of 1 to 8" in said
    kept = run(fleet, "cmd", "ops", "gw-2")
    assert "from the server's copy" in kept and "valve.set" in kept
    told = json.loads(run(fleet, "cmd", "ops", "gw-2", "--json"))
    assert (told["source"], told["opcodes"]) == ("server", OPS)
    assert json.loads(run(fleet, "cmd", "ops", "gw-2", "--key", "command.jwk", "--json"))["source"] == "device"
    silent = run(fleet, "cmd", "ops", "gw-silent", "--key", "command.jwk", "--wait", "1", code=1)
    assert "has not answered" in silent


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("gw-1",), "an OPCODE"),
        (("--group", "default"), "[NAME=VALUE]"),
        (("gw-1", "info", "n=1", "word"), "is not NAME=VALUE"),
        (("gw-1", "info", "raw=hex:0"), "pairs of hex digits"),
        (("--group", "default", "n=1"), "an OPCODE"),
    ],
)
def test_what_cannot_be_meant(fleet, words, says):
    assert says in send(fleet, *words, code=2)


def test_no_key(fleet):
    assert "--key FILE" in run(fleet, "cmd", "send", "gw-1", "info", code=2)


def test_crashes_and_commands_of_a_device(fleet):
    server, _ = fleet
    device = next(one for one in server._devices if one.id == "gw-1")
    device.say("alarm", {1: "crash", 2: "OSError", 3: "ENODEV", 6: "task sensors\nOSError: 19"})
    eventually(lambda: server.shown("gw-1")["crash"])
    listed = run(fleet, "alarms", "list", "--device", "gw-1")
    assert "OSError" in listed and "--trace shows it" in listed and "task sensors" not in listed
    assert "  task sensors\n  OSError: 19" in run(fleet, "alarms", "list", "--device", "gw-1", "--trace")
    shown = run(fleet, "device", "show", "gw-1")
    assert "pending → verified → uplinked → confirmed" in shown and "OSError: 19" in shown
