"""A server that lies about devices: what a person named is what is signed for, or nothing is.

The server answers as it likes over real HTTP, and keeps what it is handed; the tools run as people run them.
"""

from __future__ import annotations

import base64
import hashlib
import http.server
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import Result

from tidegate.commands import cwt, known_devices
from tidegate.trust import keys
from tidegate.wire import cbor, proofs

Cli = Callable[..., Result]


class Board:
    """A board with a key of its own, and what it signs."""

    def __init__(self, name: str, device: str | None = None) -> None:
        self.key = keys.new("release")
        self.id = device or proofs.thumbprint(self.key.public)
        self.name = name
        self.nonce = hashlib.sha256(self.id.encode()).digest()[:8]

    def proof(self, **changed: Any) -> str:
        said = {"public": self.key.public, "device": self.id, "nonce": self.nonce, "hardware": bytes(8), **changed}
        return proofs.encode_birth(proofs.BirthProof(**said), self.key.seed_for("release")).hex()

    def shown(self, **changed: Any) -> dict[str, Any]:
        """What an honest server shows of it."""
        return {
            "id": self.id, "name": self.name, "nonce": self.nonce.hex(), "birth_proof": self.proof(), "online": True,
            "group": "default", "key": self.id, "commands": [], "born": "2026-11-29T06:00:00.000Z",
            "last_seen": "2026-11-29T06:00:00.000Z", "version": "1.0.0", "reset_cause": "power-on", **changed,
        }  # fmt: skip

    def result(self, message: bytes, output: str | None = None, **changed: Any) -> bytes:
        """Its signed answer to a command."""
        asked = cwt.decode(message)[0]
        end = {1: asked.cti, 2: 0, 3: {"percent": 7}, **({5: [1, False]} if output else {})}
        digest = proofs.split_result(cbor.dumps(end))[1]
        said = {
            "public": self.key.public, "device": self.id, "nonce": self.nonce,
            "command": hashlib.sha256(message).digest(), "answer": digest,
            "output": hashlib.sha256(output.encode()).digest() if output else None, **changed,
        }  # fmt: skip
        return cbor.dumps({**end, 7: proofs.encode_result(proofs.ResultProof(**said), self.key.seed_for("release"))})


def other_end(text: str) -> str:
    """The same in hexadecimal, but for the last byte; setting that to 0 would change nothing one time of sixteen, since
    a signature's last byte is below 16."""
    return f"{text[:-2]}{int(text[-2:], 16) ^ 1:02x}"


class Liar(http.server.BaseHTTPRequestHandler):
    """Shows `device` whoever is asked for, and `devices` in lists; `handed` is what it was given to relay."""

    device: dict[str, Any] = {}
    devices: tuple[dict[str, Any], ...] = ()
    handed: list[tuple[str, bytes]] = []
    answer_of: Callable[[bytes], dict[str, Any]] | None = None
    claimed: dict[str, Any] = {}
    revoked: list[str] = []
    registered: dict[str, Any] = {}

    def say(self, value: Any, code: int = 200) -> None:
        data = json.dumps(value).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        if path == "/api/v1/devices":
            self.say({"devices": [] if "after=" in query and query != "after=" else list(self.devices)})
        elif path == "/api/v1/groups":
            settings = {"telemetry_period_s": 10}
            group = {"name": "canary", "channel": "stable", "release": None, "devices": 1, "settings": settings}
            self.say({"digest": "00", "groups": [group]})
        elif path == "/api/v1/commands":
            self.say({"commands": []})
        elif path.startswith("/api/v1/commands/"):
            self.say(self.relayed())
        else:
            self.say(self.device)

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/api/v1/devices":
            self.say({**self.registered, "coap": {"key": "00" * 32, "device": TWO.id}}, 201)
            return
        if self.path == "/api/v1/claims":
            self.say({"id": "0123456789abcdef", "state": "open", **self.claimed}, 201)
            return
        self.handed.append((self.path, base64.b64decode(body["command"])))
        self.say(self.relayed(), 202)

    def do_DELETE(self) -> None:
        self.revoked.append(self.path)
        self.say({"id": "0123456789abcdef", "state": "revoked"})

    def relayed(self) -> dict[str, Any]:
        message = self.handed[-1][1]
        asked = cwt.decode(message)[0]
        made: dict[str, Any] = {
            "device": asked.audience, "cti": asked.cti.hex(), "state": "confirmed", "outcome": "done",
            "opcode": asked.opcode, "result": {"answer": {}}, "history": [], "why": None, "output": None,
            "created": "2026-11-29T06:00:00.000Z", "ended": "2026-11-29T06:00:01.000Z", "kids": [], "expires": None,
        }  # fmt: skip
        return {**made, **(type(self).answer_of(message) if type(self).answer_of else {})}

    def log_message(self, *_: object) -> None:
        pass


class Place:
    """A person's machine: a command key, a file of known devices, and the liar's address."""

    def __init__(self, cli: Cli, folder: Path) -> None:
        class Handler(Liar):
            handed: list[tuple[str, bytes]] = []
            revoked: list[str] = []

        self.liar = Handler
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.known = folder / "known-devices"
        self.key = folder / "command.jwk"
        self.folder = folder
        keys.save(keys.new("command"), self.key)
        (folder / "token").write_text("tg_" + "A" * 43)
        self._cli = cli

    def run(self, *words: object, code: int = 0, tokens: bool = True) -> Result:
        options = ["--known-devices", self.known, "--server", self.url]
        options += ["--token-file", self.folder / "token"] if tokens else []
        result = self._cli(*words, *options)
        assert result.exit_code == code, (words, result.stdout, result.stderr)
        return result

    def send(self, word: str, *more: object, code: int = 0) -> Result:
        return self.run("cmd", "send", word, "reboot.not", "--key", self.key, "--wait", "0", *more, code=code)

    def know(self, board: Board) -> None:
        """As an honest server and a person made it known."""
        self.liar.device = board.shown()
        self.send(board.name, "--trust-first-use")
        self.liar.handed.clear()

    @property
    def signed_for(self) -> list[str]:
        return [cwt.decode(message)[0].audience for _, message in self.liar.handed]


@pytest.fixture
def place(cli: Cli, tmp_path: Path) -> Iterator[Place]:
    made = Place(cli, tmp_path)
    yield made
    made.server.shutdown()
    made.server.server_close()


ONE, TWO = Board("gate-1"), Board("gate-2")
OLD = Board("gate-old", "gate-old")  # it was registered with a password


def test_an_honest_first_use_is_asked_about_and_kept(place: Place) -> None:
    place.liar.device = ONE.shown()
    refused = place.send("gate-1", code=1)
    assert ONE.id in refused.stderr and "--trust-first-use" in refused.stderr and "known add" in refused.stderr
    assert place.signed_for == [] and not place.known.exists()
    place.send("gate-1", "--trust-first-use")
    assert place.signed_for == [ONE.id]
    [kept] = known_devices.read(place.known)
    assert (kept.id, kept.name, kept.key, kept.server) == (ONE.id, "gate-1", ONE.key.public.hex(), place.url)
    assert place.known.stat().st_mode & 0o777 == 0o600
    place.send("gate-1")
    place.send(ONE.id)
    assert place.signed_for == [ONE.id] * 3


def test_a_person_is_asked_at_a_terminal(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    answers = [False, True]

    def confirm(question: str, **_: Any) -> bool:
        asked.append(question)
        return answers.pop(0)

    monkeypatch.setattr("tidegate.cli._identities.click.confirm", confirm)
    terminal = SimpleNamespace(stdin=SimpleNamespace(isatty=lambda: True))
    monkeypatch.setattr("tidegate.cli._identities.sys", terminal)
    place.liar.device = ONE.shown()
    place.send("gate-1", code=1)
    assert place.signed_for == []
    place.send("gate-1")
    assert len(asked) == 2 and ONE.id in asked[0] and place.signed_for == [ONE.id]
    answers.append(True)  # the name moves: only a person may say so
    place.liar.device = TWO.shown(name="gate-1")
    place.send("gate-1")
    assert ONE.id in asked[2] and TWO.id in asked[2] and place.signed_for == [ONE.id, TWO.id]


LIES: dict[str, Callable[[], dict[str, Any]]] = {
    "another device": lambda: TWO.shown(),
    "another device under this name": lambda: TWO.shown(name="gate-1"),
    "another device without a proof": lambda: TWO.shown(name="gate-1", birth_proof=None),
    "the id of another, the rest right": lambda: ONE.shown(id=TWO.id),
    "a made-up nonce": lambda: ONE.shown(nonce="66" * 8),
    "another's proof": lambda: ONE.shown(birth_proof=TWO.proof()),
    "another's proof and nonce": lambda: ONE.shown(birth_proof=TWO.proof(), nonce=TWO.nonce.hex()),
    "a proof by another key for this id": lambda: ONE.shown(birth_proof=TWO.proof(device=ONE.id, nonce=ONE.nonce)),
    "a proof that is none": lambda: ONE.shown(birth_proof="00" * 40),
    "an empty proof": lambda: ONE.shown(birth_proof=""),
    "a changed proof": lambda: ONE.shown(birth_proof=other_end(ONE.proof())),
    "no proof any more": lambda: ONE.shown(birth_proof=None),
    "no proof, and a nonce of its own": lambda: ONE.shown(birth_proof=None, nonce="66" * 8),
    "no proof, and no key": lambda: ONE.shown(birth_proof=None, key=None),
    "an id that is a path": lambda: ONE.shown(id="../gate-1"),
}


@pytest.mark.parametrize("lie", LIES)
@pytest.mark.parametrize("word", ["name", "id"])
def test_a_lie_about_a_known_device_signs_nothing(place: Place, lie: str, word: str) -> None:
    place.know(ONE)
    before = place.known.read_bytes()
    place.liar.device = LIES[lie]()
    named = ONE.name if word == "name" else ONE.id
    for more in ((), ("--trust-first-use",), ("--json",)):
        result = place.send(named, *more, code=1)
        assert result.stderr and "Traceback" not in result.stderr
    assert place.signed_for == [] and place.known.read_bytes() == before
    place.liar.device = ONE.shown()
    place.send("gate-1")
    assert place.signed_for == [ONE.id]


@pytest.mark.parametrize("lie", [name for name in LIES if "no proof" not in name])
def test_the_same_lies_at_the_first_use_of_an_id(place: Place, lie: str) -> None:
    place.liar.device = LIES[lie]()
    place.send(ONE.id, code=1)
    assert place.signed_for == []


def test_who_is_no_such_name_is_never_signed_for(place: Place) -> None:
    for shown in (TWO.shown(), TWO.shown(name=None), OLD.shown(birth_proof=None, key=None)):
        place.liar.device = shown
        assert "gate-1 was named" in place.send("gate-1", "--trust-first-use", code=1).stderr
    assert place.signed_for == []


def test_an_old_proof_passes_here_and_is_the_boards_to_refuse(place: Place) -> None:
    place.know(ONE)
    old = bytes(8)
    place.liar.device = ONE.shown(birth_proof=ONE.proof(nonce=old), nonce=old.hex())
    place.send("gate-1")
    assert cwt.decode(place.liar.handed[0][1])[0].nonce == old  # the board's present boot has another one


def test_a_device_without_a_key_is_signed_for_by_its_id_and_told(place: Place) -> None:
    place.liar.device = OLD.shown(birth_proof=None, key=None)
    said = place.send("gate-old")
    assert "no key of its own" in said.stderr and place.signed_for == ["gate-old"]
    assert place.send("gate-old").stderr == ""
    # A key that the server invents for it is not kept, and a wrong nonce could do no more than be refused.
    place.liar.device = OLD.shown()
    assert "not kept" in place.send("gate-old").stderr
    assert [one.key for one in known_devices.read(place.known)] == [None]
    # A person may say that it is its own; from then on it is not given up.
    place.send("gate-old", "--trust-first-use")
    place.liar.device = OLD.shown(birth_proof=None, key=None)
    assert "signs its births" in place.send("gate-old", code=1).stderr
    place.liar.device = Board("gate-old", "gate-old").shown()
    assert "has changed" in place.send("gate-old", code=1).stderr
    assert len(place.signed_for) == 4


def test_an_older_image_can_be_accepted(place: Place) -> None:
    place.know(ONE)
    place.liar.device = ONE.shown(birth_proof=None)
    assert "--accept-unsigned" in place.send("gate-1", code=1).stderr
    told = json.loads(place.send("gate-1", "--accept-unsigned", "--json").stdout)
    assert told["identity"] == {"id": ONE.id, "signed_birth": False}
    assert known_devices.read(place.known)[0].key == ONE.key.public.hex()


def test_a_group_is_shown_and_a_member_with_anothers_name_left_out(place: Place) -> None:
    place.know(ONE)
    place.liar.devices = (ONE.shown(), TWO.shown(name="gate-1"), OLD.shown(birth_proof=None, key=None))
    words = ("cmd", "send", "--group", "default", "mem", "--key", place.key, "--wait", "0")
    said = place.run(*words, code=1)
    assert all(device in said.stderr for device in (ONE.id, TWO.id, "gate-old"))
    assert sorted(place.signed_for) == sorted([ONE.id, "gate-old"])
    told = {one["device"]: one for one in json.loads(place.run(*words, "--json", code=1).stdout)["commands"]}
    assert "is" in told[TWO.id]["error"] and ONE.id in told[TWO.id]["error"]


def test_a_device_whose_id_is_anothers_name_takes_nothing_of_it(place: Place) -> None:
    """A server makes devices as it likes; one may have the id `gate-1`."""
    place.know(ONE)
    made_up = Board("x", "gate-1").shown(birth_proof=None, key=None, name=None)
    place.liar.devices = (ONE.shown(), made_up)
    place.run("cmd", "send", "--group", "default", "mem", "--key", place.key, "--wait", "0", code=1)
    assert place.signed_for == [ONE.id]
    place.liar.device = made_up
    place.send("gate-1", "--trust-first-use", code=1)
    place.liar.device = ONE.shown()
    place.send("gate-1")
    assert place.signed_for == [ONE.id, ONE.id]
    book = known_devices.KnownDevices(place.known, place.url)
    book.put(known_devices.KnownDevice(place.url, "gate-1", first_seen="2026-11-29T06:00:00Z"))
    for shown in (made_up, ONE.shown()):
        place.liar.device = shown
        assert "the id of another device" in place.send("gate-1", code=1).stderr
    assert place.signed_for == [ONE.id, ONE.id]


def test_a_file_that_cannot_be_written_keeps_no_name_and_stops_no_id(place: Place) -> None:
    place.known.parent.joinpath("file").write_text("")
    place.known = place.folder / "file" / "known-devices"
    place.liar.device = ONE.shown()
    assert "TIDEGATE_KNOWN_DEVICES" in place.send("gate-1", "--trust-first-use", code=1).stderr
    assert place.signed_for == []
    assert "TIDEGATE_KNOWN_DEVICES" in place.send(ONE.id).stderr and place.signed_for == [ONE.id]


def test_a_group_can_be_pinned_in_the_fleet_file(place: Place) -> None:
    place.know(ONE)
    file = place.folder / "fleet.yaml"
    file.write_text("groups:\n  default: {}\n  canary:\n    devices: [gate-1, gate-3]\n")
    members = [ONE.shown(group="canary"), TWO.shown(group="canary"), OLD.shown(group="canary", birth_proof=None)]
    place.liar.devices = tuple(members)
    words = ("cmd", "send", "--group", "canary", "mem", "--key", place.key, "--fleet", file, "--wait", "0", "--json")
    told = {one["device"]: one for one in json.loads(place.run(*words, code=1).stdout)["commands"]}
    assert place.signed_for == [ONE.id]
    assert "does not name" in told[TWO.id]["error"] and "does not name" in told["gate-old"]["error"]
    assert "does not show it" in told["gate-3"]["error"]
    # The name in the file is that of the device that is known, not of the one the server says.
    place.liar.devices = (TWO.shown(group="canary", name="gate-1"),)
    told = {one["device"]: one for one in json.loads(place.run(*words, code=1).stdout)["commands"]}
    assert place.signed_for == [ONE.id] and ONE.id in told[TWO.id]["error"]
    assert place.run(*words[:3], "other", *words[4:], code=1).stderr


def test_a_fleet_file_signs_settings_for_whom_it_names(place: Place) -> None:
    place.know(ONE)
    file = place.folder / "fleet.yaml"
    file.write_text("groups:\n  canary:\n    devices: [gate-1]\n    settings: {telemetry_period_s: 10}\n")
    place.liar.devices = (TWO.shown(group="canary", name="gate-1", settings=None),)
    place.liar.device = TWO.shown(group="canary", name="gate-1")
    words = ("apply", "-f", file, "--key", place.key, "--yes", "--wait", "0")
    said = place.run(*words, code=1)
    assert "line 3" in said.stderr and ONE.id in said.stderr and place.signed_for == []
    place.liar.devices = (ONE.shown(group="canary", settings=None),)
    assert TWO.id in place.run(*words, code=1).stdout  # the list was right, the device itself is another
    assert place.signed_for == []
    place.liar.device = ONE.shown(group="canary")
    place.run(*words)
    assert place.signed_for == [ONE.id]


def test_a_claim_is_for_the_device_that_was_named(place: Place, key_folder: Path) -> None:
    place.know(ONE)
    offer = "tgc1_0123456789abcdef_" + "A" * 43
    words = ("device", "claim", "--trust", key_folder / "trust.cbor")
    for named, shown in (("gate-1", TWO.id), ("gate-7", "gate-1"), (ONE.id, "gate-7")):
        place.liar.claimed = {
            "claim": offer,
            "device": shown,
            "group": "default",
            "expires": "2026-12-29T06:00:00.000Z",
        }
        assert "the claim is revoked" in place.run(*words, "--device", named, code=1).stderr
    assert len(place.liar.revoked) == 3
    for named, shown, end in (("gate-1", ONE.id, ""), ("gate-7", "gate-7", "_gate-7")):
        place.liar.claimed = {**place.liar.claimed, "device": shown}
        text = json.loads(place.run(*words, "--device", named, "--json").stdout)["claim"]
        assert text[98:] == end
    # A server that adds a device by itself does not get it into a claim for any board.
    text = json.loads(place.run(*words, "--json").stdout)["claim"]
    assert len(text) == 98


def test_a_name_that_was_claimed_here_waits_for_a_board_that_signs(place: Place, key_folder: Path) -> None:
    place.know(TWO)
    offer = "tgc1_0123456789abcdef_" + "A" * 43
    place.liar.claimed = {"claim": offer, "device": None, "group": "default", "expires": "2026-12-29T06:00:00.000Z"}
    place.run("device", "claim", "--trust", key_folder / "trust.cbor", "--name", "gate-1")
    for shown in (
        ONE.shown(birth_proof=None),
        TWO.shown(name="gate-1"),
        ONE.shown(nonce="66" * 8),
        OLD.shown(name="gate-1"),
    ):
        place.liar.device = shown
        place.send("gate-1", code=1)
    assert place.signed_for == []
    place.liar.device = ONE.shown()
    assert "by claim 0123456789abcdef" in place.send("gate-1").stderr
    assert place.signed_for == [ONE.id]
    place.liar.device = Board("gate-1").shown()
    place.send("gate-1", code=1)


def test_a_signed_answer_is_kept_and_verified_offline(place: Place, key_folder: Path) -> None:
    place.know(ONE)
    file = place.folder / "evidence.json"

    def honest(message: bytes) -> dict[str, Any]:
        assert cwt.decode(message)[0].prove
        return {
            "result": {"answer": {"percent": 7}, "signed": ONE.result(message, "turned\n").hex()},
            "output": "turned\n",
        }

    place.liar.answer_of = honest
    said = place.send("gate-1", "--proof", file)
    assert "signed by" in said.stdout
    cli = place._cli
    good = cli("cmd", "verify", file, "--json")
    assert good.exit_code == 0 and json.loads(good.stdout)["answer"] == {"percent": 7}
    assert cli("cmd", "verify", file, "--trust", key_folder / "trust.cbor").exit_code == 1  # by another command key
    whole = json.loads(file.read_text())
    message = bytes.fromhex(whole["command"])
    for changed in (
        {"output": "not turned\n"}, {"output": None}, {"result": TWO.result(message, "turned\n").hex()},
        {"result": ONE.result(message, "turned\n", answer=bytes(32)).hex()},
        {"result": ONE.result(message, "turned\n", command=bytes(32)).hex()},
        {"result": ONE.result(message, "turned\n", nonce=bytes(8)).hex()},
        {"result": cbor.dumps({1: cwt.decode(message)[0].cti, 2: 0}).hex()}, {"result": "00"}, {"result": 7},
        {"command": message[:-1].hex()}, {"command": other_end(place.liar.handed[0][1].hex())},
    ):  # fmt: skip
        file.write_text(json.dumps({**whole, **changed}))
        bad = cli("cmd", "verify", file)
        assert bad.exit_code == 1 and bad.stderr.startswith("Error: "), (changed, bad.stderr)
    for text in ("", "[]", "{}", '{"kind": 7}'):
        file.write_text(text)
        assert cli("cmd", "verify", file).exit_code == 1
    assert cli("cmd", "verify", place.folder / "nothing").exit_code == 1


def test_an_answer_that_comes_late_is_added(place: Place) -> None:
    place.know(ONE)
    file = place.folder / "evidence.json"
    place.liar.answer_of = lambda message: {"state": "uplinked", "outcome": None, "result": None}
    assert "can be added" in place.send("gate-1", "--proof", file).stdout
    early = place._cli("cmd", "verify", file)
    assert early.exit_code == 1 and "had not come" in early.stderr
    cti = cwt.decode(place.liar.handed[0][1])[0].cti.hex()
    for result in ({"answer": {}}, {"signed": TWO.result(place.liar.handed[0][1]).hex()}):
        place.liar.answer_of = lambda message, result=result: {"result": result}  # type: ignore[misc]
        place.run("cmd", "show", cti, "--proof", file, code=1)
        assert place._cli("cmd", "verify", file).exit_code == 1
    place.liar.answer_of = lambda message: {"result": {"signed": ONE.result(message).hex()}}
    place.run("cmd", "show", cti, "--proof", file)
    assert place._cli("cmd", "verify", file).exit_code == 0
    place.liar.answer_of = lambda message: {"cti": "00" * 8}
    assert "is of the command" in place.run("cmd", "show", cti, "--proof", file, code=1).stderr


@pytest.mark.parametrize("lie", ["none", "another's", "another answer", "another output"])
def test_an_answer_that_the_device_did_not_sign_is_no_evidence(place: Place, lie: str) -> None:
    place.know(ONE)
    file = place.folder / "evidence.json"

    def lying(message: bytes) -> dict[str, Any]:
        signed = {
            "another's": lambda: TWO.result(message),
            "another answer": lambda: ONE.result(message, answer=bytes(32)),
            "another output": lambda: ONE.result(message, "so"),
        }
        return {"result": {"answer": {}, **({} if lie == "none" else {"signed": signed[lie]().hex()})}, "output": None}

    place.liar.answer_of = lying
    place.send("gate-1", "--proof", file, code=1)
    assert not file.exists()


def test_an_output_that_nobody_can_write_is_no_evidence(place: Place) -> None:
    place.know(ONE)
    place.liar.answer_of = lambda message: {  # type: ignore[misc]
        "result": {"signed": ONE.result(message, "so").hex()}, "output": "\ud800",
    }  # fmt: skip
    said = place.send("gate-1", "--proof", place.folder / "evidence", code=1)
    assert "not the text that the device signed" in said.stderr


def test_credentials_are_those_of_the_device_that_was_named(place: Place) -> None:
    out = place.folder / "credentials.json"
    words = ("device", "add", "gate-9", "--board", "qemu_mps2", "--out", out)
    mine = {"user": "gate-9", "password": "p"}
    for odd in ({"id": TWO.id, "mqtt": mine}, {"id": "gate-9", "mqtt": {**mine, "user": TWO.id}}):
        place.liar.registered = odd
        assert TWO.id in place.run(*words, code=1).stderr
        assert not out.exists() and not place.known.exists()
    place.liar.registered = {"id": "gate-9", "mqtt": {**mine, "device": TWO.id, "host": "evil"}}
    place.run(*words)
    assert json.loads(out.read_text()) == {**mine, "coap_key": "00" * 32}, "nothing else reaches the board"


def test_an_older_board_is_asked_without_a_wish_it_would_refuse(place: Place) -> None:
    place.liar.device = OLD.shown(birth_proof=None, key=None)
    said = place.send("gate-old", "--proof", place.folder / "evidence.json", code=1)
    assert "has not signed its answer" in said.stderr
    assert not cwt.decode(place.liar.handed[0][1])[0].prove


def test_what_is_known_is_shown_and_changed(place: Place) -> None:
    place.know(ONE)
    cli, own = place._cli, ("--known-devices", place.known)
    assert ONE.id in cli("device", "known", "list", *own).stdout
    shown = place.run("device", "known", "show", "gate-1", "--json", tokens=False)
    assert json.loads(shown.stdout)["key"] == ONE.key.public.hex()
    assert place.run("device", "known", "show", "gate-3", tokens=False, code=1).stderr
    assert ONE.id in place.run("device", "known", "add", "gate-1", TWO.id, tokens=False, code=1).stderr
    place.run("device", "known", "add", "gate-2", TWO.id, tokens=False)
    place.liar.device = TWO.shown()
    place.send("gate-2")
    place.run("device", "known", "forget", "gate-1", tokens=False)
    assert place.run("device", "known", "forget", "gate-1", tokens=False, code=1).stderr
    other = place.folder / "other"
    other.write_bytes(place.known.read_bytes())
    place.run("device", "known", "forget", "gate-2", tokens=False)
    assert "1 devices" in cli("device", "known", "import", other, *own).stdout
    assert "0 devices" in cli("device", "known", "import", other, *own).stdout
    clash = known_devices.KnownDevice(place.url, ONE.id, "gate-2", first_seen="2026-11-29T06:00:00Z")
    other.write_bytes(known_devices.encode([clash]))
    assert "differ about gate-2" in cli("device", "known", "import", other, *own).stderr
    assert cli("device", "known", "import", place.folder / "nothing", *own).exit_code == 1


@pytest.mark.parametrize(
    "text",
    [
        "", "[]", "{}", '{"version": 2, "devices": []}', '{"version": 1, "devices": [7]}',
        '{"version": 1, "devices": [{"server": "s", "id": "../x"}]}',
        '{"version": 1, "devices": [{"server": "s", "id": "g", "key": "00"}]}',
        '{"version": 1, "devices": [{"server": "s", "id": "g", "more": "x"}]}',
        '{"version": 1, "devices": [{"server": "s", "id": "g"}, {"server": "s", "id": "g"}]}',
        '{"version": 1, "devices": [{"server": "s", "id": "g", "name": "n"}, {"server": "s", "id": "h", "name": "n"}]}',
        '{"version": 1, "devices": [{"server": "s", "name": "n"}]}',
        f'{{"version": 1, "devices": [{{"server": "s", "id": "{"0f" * 16}", "key": "{"00" * 32}"}}]}}',
    ],
)  # fmt: skip
def test_a_damaged_file_signs_nothing(place: Place, text: str) -> None:
    place.liar.device = ONE.shown()
    place.known.write_text(text)
    result = place.send(ONE.id, code=1)
    assert str(place.known) in result.stderr and place.signed_for == [] and place.known.read_text() == text
