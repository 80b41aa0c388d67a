"""A board with a key of its own signs its birth and its answers, and a server that lies about it signs nothing up.

Real server, the emulated Cortex-M3 with the real firmware; between the server and the operator's machine somebody who
changes what the server says.
"""

from __future__ import annotations

import http.server
import json
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from lab import Installation, LabBoard

from tidegate.wire import proofs

BOARD = "qemu_mps2"
LIMIT_S = 120
Lie = Callable[[dict[str, Any]], dict[str, Any]]


class Between(http.server.BaseHTTPRequestHandler):
    """Passes everything on, but changes what is said of a device."""

    real = ""
    lie: Lie | None = None
    handed = 0

    def do_GET(self) -> None:
        self.pass_on(None)

    def do_POST(self) -> None:
        type(self).handed += 1
        self.pass_on(self.rfile.read(int(self.headers["Content-Length"])))

    def pass_on(self, body: bytes | None) -> None:
        headers = {name: self.headers[name] for name in ("Authorization", "Content-Type") if name in self.headers}
        asked = urllib.request.Request(self.real + self.path, body, headers)
        try:
            with urllib.request.urlopen(asked, timeout=30) as answer:
                status, data = answer.status, answer.read()
        except urllib.error.HTTPError as error:
            status, data = error.code, error.read()
        if type(self).lie and status == 200 and self.path.startswith("/api/v1/devices/"):
            data = json.dumps(type(self).lie(json.loads(data))).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with Installation(tmp_path_factory.mktemp("identity") / "place") as made:
        made.make_keys()
        made.start_server()
        made.copy_source()
        made.build("1.0.0", 1)
        yield made


@pytest.fixture(scope="module")
def board(place: Installation) -> LabBoard:
    """A board that has enrolled as gate-7."""
    claim = place.folder / "gate-7.claim"
    place.tidegate("device", "claim", "--trust", place.trust, "--out", claim, "--name", "gate-7")
    made = LabBoard(place.folder / "gate-7.flash", "02:00:00:74:69:07")
    place.boards.append(made)
    made.power_on()
    place.flash_claimed(made, claim, "1.0.0")
    made.wait_line(r"enrolled as [0-9a-f]{32}, group default", LIMIT_S)
    place.wait_running("gate-7", "1.0.0", LIMIT_S)
    return made


def send(place: Installation, word: str, *more: str | Path, code: int = 0) -> str:
    return place.tidegate("cmd", "send", word, "mem", "--key", place.key("command"), "--wait", "60", *more, code=code)


def test_its_answer_is_signed_and_verified_without_the_server(place: Installation, board: LabBoard) -> None:
    evidence = place.folder / "mem.evidence"
    told = json.loads(send(place, "gate-7", "--proof", evidence, "--json"))
    shown = place.api.device("gate-7")
    assert told["identity"] == {"id": shown["id"], "signed_birth": True}
    proof = proofs.open_birth(bytes.fromhex(shown["birth_proof"]))
    assert (proof.device, proof.nonce.hex()) == (shown["id"], shown["nonce"])
    said = json.loads(place.tidegate("cmd", "verify", evidence, "--trust", place.trust, "--json"))
    assert said["device"] == shown["id"] and said["answer"]["free"] == told["result"]["answer"]["free"]
    changed = json.loads(evidence.read_text())
    place.tidegate("cmd", "send", "gate-7", "log", "tail", "n=5", "--key", place.key("command"), "--proof", evidence)
    assert "tidegate" in json.loads(evidence.read_text())["output"] or json.loads(evidence.read_text())["output"]
    other = json.loads(evidence.read_text())
    evidence.write_text(json.dumps({**other, "command": changed["command"]}))
    place.tidegate("cmd", "verify", evidence, code=1)


def test_each_boot_signs_its_own_nonce(place: Installation, board: LabBoard) -> None:
    before = place.api.device("gate-7")
    place.tidegate("cmd", "send", "gate-7", "reboot", "--key", place.key("command"), "--wait", "90")
    after = place.api.device("gate-7")
    assert after["nonce"] != before["nonce"]
    assert proofs.open_birth(bytes.fromhex(after["birth_proof"])).nonce.hex() == after["nonce"]
    send(place, "gate-7")


def test_a_server_that_lies_gets_nothing_signed(place: Installation, board: LabBoard) -> None:
    class Handler(Between):
        real = place.url

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    url = ("--server", f"http://127.0.0.1:{server.server_port}")
    own = place.api.device("gate-7")
    stale = own["birth_proof"]
    try:
        send(place, own["id"], *url)  # it is passed on, and the board answers
        assert Handler.handed == 1
        lies: list[Lie] = [
            lambda device: {**device, "nonce": "66" * 8},
            lambda device: {**device, "id": "gate-2", "name": own["id"]},
            lambda device: {**device, "id": "0f" * 16},
            lambda device: {**device, "birth_proof": device["birth_proof"][:-2] + "ff"},
            lambda device: {**device, "birth_proof": None},
        ]
        for number, lie in enumerate(lies):
            Handler.lie = staticmethod(lie)
            done = place.run(
                "cmd", "send", own["id"], "mem", "--key", place.key("command"), "--wait", "1", *url, "--trust-first-use"
            )
            assert done.returncode == 1 and Handler.handed == 1, (number, done.stdout, done.stderr)
        # An old birth of the board itself passes on the operator's machine. The board refuses what is signed for it.
        board.power_cut()
        board.power_on()
        place.wait("the next birth", lambda: place.api.device("gate-7")["nonce"] != own["nonce"], LIMIT_S)
        place.wait("its signature", lambda: place.api.device("gate-7")["birth_proof"] not in (None, stale), LIMIT_S)
        Handler.lie = staticmethod(lambda device: {**device, "nonce": own["nonce"], "birth_proof": stale})
        told = json.loads(send(place, own["id"], *url, "--json", code=1))
        assert told["outcome"] != "done" and "nonce" in (told["why"] or ""), told
    finally:
        server.shutdown()
        server.server_close()
    send(place, "gate-7")
