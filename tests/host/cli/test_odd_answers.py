"""Every verb that talks to a server, against answers that no Tidegate server gives: one line, never a traceback."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import os
import random
import shutil
import time
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result
from odd_server import ROUTES, OddServer, good, mutations, reply

from tidegate import manifest
from tidegate.cli import main
from tidegate.client import transport
from tidegate.commands import send
from tidegate.image import Identity, pack
from tidegate.names import DEFAULT_PRODUCT, DEFAULT_VENDOR
from tidegate.release.folder import INDEX, Release, Target, encode_index

CTI = "00" * 8
FIRST = "--trust-first-use"
# Words of each verb: @name stands for a file of `place`.
VERBS: dict[tuple[str, ...], tuple[str, ...]] = {
    ("alarms", "ack"): ("7", "--note", "seen"),
    ("alarms", "forward"): ("--seen", "@seen", "--run", "true"),
    ("alarms", "list"): (),
    ("alarms", "mute"): ("crash", "--for", "8h"),
    ("alarms", "mutes"): (),
    ("alarms", "unmute"): ("1",),
    ("apply",): ("-f", "@fleet.yaml", "--key", "@command.jwk", "--wait", "0", "--yes", "--trust-first-use"),
    ("audit", "verify"): (),
    ("cmd", "cancel"): (CTI,),
    ("cmd", "list"): (),
    ("cmd", "ops"): ("gate-1",),
    ("cmd", "send"): ("gate-1", "ping", "--key", "@command.jwk", "--wait", "0", FIRST),
    ("cmd", "show"): (CTI,),
    ("data", "publish"): ("@data",),
    ("device", "add"): ("gate-1", "--board", "qemu_mps2"),
    ("device", "claim"): ("--trust", "@trust.cbor"),
    ("device", "claims"): (),
    ("device", "label"): ("gate-1", "site=vienna"),
    ("device", "list"): (),
    ("device", "move"): ("gate-1", "--group", "canary"),
    ("device", "rename"): ("gate-1", "hall"),
    ("device", "revoke"): ("gate-1",),
    ("device", "set"): ("gate-1", "--product", "acme-cooler"),
    ("device", "show"): ("gate-1",),
    ("device", "telemetry"): ("gate-1",),
    ("device", "timeline"): ("gate-1",),
    ("device", "unclaim"): (CTI,),
    ("device", "wait"): ("gate-1", "--timeout", "0"),
    ("diff",): ("-f", "@fleet.yaml"),
    ("group", "list"): (),
    ("group", "set"): ("canary", "--channel", "stable"),
    ("group", "show"): ("canary",),
    ("login",): ("--token-file", "@token"),
    ("open",): ("devices", "--print"),
    ("release", "fetch"): ("--out", "@fetched"),
    ("release", "publish"): ("@release", "--yes"),
    ("release", "sbom"): ("1.0.0",),
    ("rollout", "abort"): ("1.0.0", "--yes"),
    ("rollout", "history"): ("1.0.0",),
    ("rollout", "pause"): ("1.0.0", "--yes"),
    ("rollout", "plan"): ("1.0.0",),
    ("rollout", "promote"): ("1.0.0", "--yes"),
    ("rollout", "resume"): ("1.0.0", "--yes"),
    ("rollout", "retry"): ("1.0.0", "--yes"),
    ("rollout", "slo"): (),
    ("rollout", "start"): ("1.0.0", "--yes"),
    ("rollout", "status"): ("1.0.0",),
    ("rollout", "stop"): ("1.0.0", "--yes"),
    ("rollout", "why"): ("1.0.0",),
    ("trust", "publish"): ("@next.update",),
}
MORE = {
    ("device", "add"): (("--from", "@two.csv", "--board", "qemu_mps2", "--out", "@two.credentials"),),
    ("device", "telemetry"): (("gate-1", "--last"),),
    ("alarms", "ack"): (("--kind", "crash", "--device", "gate-1"),),
    ("alarms", "list"): (("--device", "gate-1", "--trace"), ("--state", "calling", "--kind", "crash")),
    ("cmd", "send"): (("--group", "canary", "ping", "--key", "@command.jwk", "--wait", "0", FIRST),),
    ("cmd", "ops"): (("gate-1", "--key", "@command.jwk", "--wait", "0", FIRST),),
    ("rollout", "retry"): (("1.0.0", "--key", "@command.jwk", "--wait", "0", FIRST, "--yes"),),
    ("device", "label"): (("gate-1",),),
    ("device", "list"): (("--search", "GATE", "--online", "--version", "1.0.0"),),
    ("device", "wait"): (("gate-1", "--version", "1.0.0", "--timeout", "0"),),
    ("rollout", "slo"): (("--set", "1%/30d", "--yes"), ("--lift", "2h", "--why", "a hotfix", "--yes")),
    ("rollout", "start"): (("1.0.0", "--waves", "1%,100%", "--yes"),),
    ("rollout", "status"): ((), ("1.0.0", "--devices")),
}
CALLS = [(*verb, *words) for verb, first in VERBS.items() for words in (first, *MORE.get(verb, ()))]
ODD = (None, True, -1, 0, 1.5, 2**62, "", "x", "\x1b[31m\u202e\ud800\x7f\n", [], [None], {}, {"x": {}})
FULL = bool(os.environ.get("TIDEGATE_FULL"))
SAMPLE = 10**9 if FULL else 12  # mutations of each call


def verbs(group: click.Group, above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from verbs(command, (*above, name))
        elif command is not None:
            yield (*above, name), command


def test_every_verb_with_a_server_is_tried() -> None:
    with_a_server = {words for words, one in verbs(main) if any(param.name == "token_file" for param in one.params)}
    # A simulated fleet needs a broker beside the API: tests/server/simulate.
    assert with_a_server == {*VERBS, ("simulate",)}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with keys, a trust store and its successor, a fleet file, a data release and a signed release."""
    folder = tmp_path_factory.mktemp("odd")

    def run(*words: str) -> None:
        done = CliRunner().invoke(main, [found(folder, word) for word in words])
        assert done.exit_code == 0, done.output

    for name, role in (("command", "command"), ("release", "release"), ("root", "root"), ("other", "release")):
        run("key", "new", "--role", role, "--out", f"@{name}.jwk")
    run("trust", "new", "--out", "@trust.cbor", "@command.jwk", "@release.jwk", "@root.jwk")
    run("trust", "rotate", "@trust.cbor", "--out", "@next.update", "--add", "@other.jwk")
    run("trust", "sign", "@next.update", "--key", "@root.jwk")
    (folder / "token").write_text("tg_" + "A" * 43)
    (folder / "fleet.yaml").write_text("groups:\n  canary: {channel: stable, devices: [gate-1]}\n")
    (folder / "table").write_text("{}")
    (folder / "two.csv").write_text("id\ngate-1\ngate-2\n")
    board = ("--board", "qemu_mps2", "--version", "1", "--sequence", "1")
    run("data", "build", "calibration", "@table", *board, "--out", "@data")
    run("data", "sign", "@data", "--key", "@release.jwk")
    image = pack({"release.json": Identity(DEFAULT_PRODUCT, "1.0.0", 1, "qemu_mps2").encode()})
    digest = hashlib.sha256(image).hexdigest()
    (folder / "release" / "p").mkdir(parents=True)
    (folder / "release" / "p" / digest).write_bytes(image)
    class_id = manifest.class_id(manifest.vendor_id(DEFAULT_VENDOR), DEFAULT_PRODUCT, "qemu_mps2").hex()
    target = Target("qemu_mps2", digest, len(image), (), "qemu_mps2.suit", class_id)
    made = Release(folder / "release", DEFAULT_PRODUCT, DEFAULT_VENDOR, "1.0.0", 1, {"qemu_mps2": target})
    (folder / "release" / INDEX).write_bytes(encode_index(made))
    run("release", "sign", "@release", "--key", "@release.jwk")
    envelope = base64.b64encode((folder / "release" / "qemu_mps2.suit").read_bytes()).decode()
    ROUTES.insert(0, (f"GET /p/{digest}", image))
    fetched = {"product": DEFAULT_PRODUCT, "vendor": DEFAULT_VENDOR, "version": "1.0.0", "sequence": 1, "bases": {}}
    fetched["envelopes"] = {"qemu_mps2": envelope}
    ROUTES.insert(0, (r"GET /api/v1/releases/[^/]+/fetch.*", {"releases": [fetched]}))
    return folder


def found(folder: Path, word: str) -> str:
    return str(folder / word[1:]) if word.startswith("@") else word


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, place: Path, tmp_path: Path) -> Iterator[OddServer]:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setattr(send, "POLL_S", 0.001)
    monkeypatch.setenv("TIDEGATE_TOKEN_FILE", str(place / "token"))
    odd = OddServer()
    monkeypatch.setenv("TIDEGATE_SERVER", odd.url)
    yield odd
    odd.close()


Run = Callable[[tuple[str, ...]], Result]


@pytest.fixture
def run(server: OddServer, place: Path) -> Run:
    """Run a call, and check what holds whatever the server says."""

    def run(words: tuple[str, ...]) -> Result:
        shutil.rmtree(place / "fetched", ignore_errors=True)
        (place / "two.credentials").unlink(missing_ok=True)
        done = CliRunner().invoke(main, [found(place, word) for word in words])
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        assert done.exit_code in (0, 1, 3), (words, done.output)
        assert "fault of its own" not in done.stderr and "Traceback" not in done.output, (words, done.stderr)
        for text in (done.stdout, done.stderr):
            bad = {one for one in text if one not in "\n\t" and unicodedata.category(one) in ("Cc", "Cf", "Cs")}
            assert not bad, (words, bad)
        if done.exit_code == 1 and not done.stdout:
            assert "Error: " in done.stderr or '{"error"' in done.stderr, (words, done.stderr)
        return done

    return run


@pytest.mark.parametrize("words", CALLS, ids=" ".join)
def test_a_right_answer_is_taken(server: OddServer, run: Run, words: tuple[str, ...]) -> None:
    done = run(words)
    assert done.exit_code == (3 if words[0] == "diff" else 0) or "gate-1 is not" in done.stderr, done.output
    assert set(server.tokens) == {"Bearer tg_" + "A" * 43}
    as_json = run((*words, "--json"))
    json.loads(as_json.stdout or as_json.stderr)


@pytest.mark.parametrize("words", CALLS, ids=" ".join)
def test_any_part_of_an_answer_may_be_odd(server: OddServer, run: Run, words: tuple[str, ...]) -> None:
    run(words)
    cases = []
    for request in dict.fromkeys(server.heard):
        if not isinstance(good(request), bytes):
            cases += [(request, value) for value in mutations(good(request), ODD)]
    chosen = cases if len(cases) <= SAMPLE else random.Random(str(words)).sample(cases, SAMPLE)
    for at, (request, value) in enumerate(chosen):

        def twist(asked: str, usual: Any, request: str = request, value: Any = value) -> Any:
            return value if asked == request else usual

        server.twist = twist
        done = run((*words, "--json") if at % 2 else words)
        if at % 2 and done.stdout:
            json.loads(done.stdout, parse_constant=pytest.fail)


DEEP = b"[" * 100_000 + b"]" * 100_000
BODIES = {
    "nothing": b"",
    "no JSON": b"<html><h1>Welcome</h1></html>",
    "not UTF-8": b'{"devices": ["\xff\xfe"]}',
    "UTF-16": '{"devices": []}'.encode("utf-16"),
    "a byte order mark": b"\xef\xbb\xbf{}",
    "deep": DEEP,
    "deep objects": b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
    "NaN": b'{"devices": NaN}',
    "infinite": b'{"devices": 1e999}',
    "huge": b'{"devices": ' + b"9" * 5000 + b"}",
    "twice": b'{"devices": [], "devices": {}}',
    "cut": b'{"devices": [{"id": "gate',
    "long": b'"' + b"x" * (transport.MAX_ANSWER + 1) + b'"',
    "open text": b'"' + b'\\"' * 500_000,
}


def endless(handler: Any) -> None:
    reply(handler, b"[", length=10**15)
    while True:
        handler.wfile.write(b" " * 65536)


def dripping(handler: Any) -> None:
    reply(handler, b"[", length=10**6)
    for _ in range(200):
        handler.wfile.write(b" ")
        handler.wfile.flush()
        time.sleep(0.05)


def dripping_header(handler: Any) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Long: ")
    for _ in range(200):
        handler.wfile.write(b"x")
        handler.wfile.flush()
        time.sleep(0.05)


def raw(data: bytes) -> Callable[[Any], None]:
    def write(handler: Any) -> None:
        handler.wfile.write(data)
        handler.close_connection = True

    return write


ANSWERS: dict[str, Any] = {
    "truncated": lambda handler: (reply(handler, b'{"devices"', length=5000), setattr(handler, "close_connection", 1)),
    "endless": endless,
    "packed": lambda handler: reply(handler, gzip.compress(b" " * 10**8), headers={"Content-Encoding": "gzip"}),
    "redirect": lambda handler: reply(handler, b"", 302, {"Location": "http://127.0.0.1:9/\x1b[31m"}),
    "redirect without a place": lambda handler: reply(handler, b"", 307),
    "no HTTP": raw(b"SSH-2.0-OpenSSH_9.2\r\n"),
    "TLS": raw(b"\x15\x03\x01\x00\x02\x02\x46"),
    "hung up": raw(b""),
    "many headers": raw(b"HTTP/1.1 200 OK\r\n" + b"".join(b"X-%d: x\r\n" % n for n in range(20_000))),
    "error in HTML": lambda handler: reply(handler, b"<h1>Bad Gateway</h1>", 502),
    "error of other types": lambda handler: reply(handler, b'{"detail": 5, "title": [], "remedy": {}}', 422),
    "error that paints": lambda handler: reply(
        handler, json.dumps({"detail": "\x1b[2J\nError: no", "remedy": "\u202e\x9b"}).encode(), 500
    ),
    "error in NaN": lambda handler: reply(handler, b"NaN", 400),
    "status 204": raw(b"HTTP/1.1 204 No Content\r\n\r\n"),
    "status 999": raw(b"HTTP/1.1 999 Odd\r\nContent-Length: 0\r\n\r\n"),
}


@pytest.mark.parametrize("kind", [*BODIES, *ANSWERS])
def test_an_answer_that_is_no_answer(server: OddServer, run: Run, kind: str) -> None:
    server.twist = lambda request, usual: BODIES.get(kind) if kind in BODIES else ANSWERS[kind]
    verbs = list(VERBS.items())
    slow = kind in ("endless", "deep", "long", "packed", "open text", "deep objects", "many headers")
    for verb, words in verbs[::6] if slow and not FULL else verbs:
        begun = time.monotonic()
        done = run((*verb, *words))
        if verb == ("data", "publish") and kind in BODIES:
            continue  # the answer to an upload is not looked at
        assert done.exit_code == 1, (verb, done.output)
        assert done.stderr.count("\n") <= 3
        if not kind.startswith("error"):
            assert server.url in done.stderr, (verb, done.stderr)
        assert time.monotonic() - begun < 60


@pytest.mark.parametrize("kind", [dripping, dripping_header])
def test_an_answer_that_takes_for_ever(
    server: OddServer, run: Run, monkeypatch: pytest.MonkeyPatch, kind: Callable[[Any], None]
) -> None:
    monkeypatch.setattr(transport, "CALL_TIMEOUT", 0.5)
    server.twist = lambda request, usual: kind
    begun = time.monotonic()
    done = run(("device", "list"))
    assert done.exit_code == 1 and "did not end its answer in time" in done.stderr
    assert time.monotonic() - begun < 8


@pytest.mark.parametrize("when", ["2026-11-29T08:00:00", "2026-11-29", "0001-01-01T00:00:00+23:59"])
def test_a_time_names_its_zone_and_has_a_place_in_it(server: OddServer, run: Run, when: str) -> None:
    server.twist = lambda asked, usual: {**usual, "entries": [{**usual["entries"][0], "at": when}]}
    assert "entries[0].at" in run(("audit", "verify")).stderr
    server.twist = lambda asked, usual: {**usual, "born": when}
    assert "born" in run(("device", "show", "gate-1")).stderr


def test_pages_that_go_in_circles(server: OddServer, run: Run) -> None:
    server.twist = lambda request, usual: {**usual, "devices": good("GET /api/v1/devices?after=")["devices"]}
    assert "twice" in run(("device", "list")).stderr
    point = good("GET /api/v1/devices/gate-1/telemetry?")["telemetry"][0]
    server.twist = lambda request, usual: {"telemetry": [point], "next": "1-1"}
    assert "do not go forward" in run(("device", "telemetry", "gate-1", "--limit", "5000")).stderr


def test_what_a_device_wrote_keeps_its_lines(server: OddServer, run: Run) -> None:
    server.twist = lambda request, usual: {**usual, "output": "one\r\n\ttwo\x1b[31m\n", "why": "a\nError: b"}
    done = run(("cmd", "show", CTI))
    assert "one\n\ttwo\\x1b[31m\n" in done.stdout
    assert "a\\nError: b" in done.stdout
