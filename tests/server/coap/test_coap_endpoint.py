"""The CoAP endpoint: a real server, aiocoap's and libcoap's clients, and datagrams made by hand."""

from __future__ import annotations

import random
import socket
import subprocess
from collections.abc import Callable, Iterator

import aiocoap
import programs
import pytest
import raw_coap as raw
import signed_releases as releases
from aiocoap import GET, POST
from coap_device import CoapDevice, Loop, read_tag, signed
from device_commands import send
from device_commands import signed as command_of
from mqtt_device import NONCE
from patience import limit
from server_process import BOARD, PRODUCT, ServerProcess, eventually

SLOW_S = 40  # conditions are waited for; this is when a loaded machine is given up on


@pytest.fixture(scope="module")
def server(tmp_path_factory, ring) -> Iterator[ServerProcess]:
    running = ServerProcess(
        tmp_path_factory.mktemp("coap") / "data", "--trust", str(ring.trust), "--coap", "127.0.0.1:0"
    )
    yield running
    assert running.stop() == 0
    assert "Traceback" not in running.log.read_text()


@pytest.fixture(scope="module")
def loop() -> Iterator[Loop]:
    running = Loop()
    yield running
    running.close()


@pytest.fixture
def device(server, loop) -> Iterator[Callable[..., CoapDevice]]:
    made: list[CoapDevice] = []

    def make(device_id: str, board: str = BOARD, url: str = "") -> CoapDevice:
        body = {"id": device_id, "board": board, "product": PRODUCT}
        key = bytes.fromhex(server.api("POST", "/devices", json=body)["coap"]["key"])
        made.append(CoapDevice(device_id, key, url or server.coap, loop))
        return made[-1]

    yield make
    for each in made:
        each.close()


def birth(version: str = "1.0.0", sequence: int = 1) -> dict[int, object]:
    facts = {1: 1, 2: BOARD, 3: PRODUCT, 4: version, 5: sequence, 6: b"\x11" * 32, 7: NONCE}
    return {**facts, 8: "power-on", 9: False, 10: "1.25.0", 11: 1}


def pack(device_id: str, *values: float, number: int | None = None, **labels: object) -> list[dict[int, object]]:
    first: dict[int, object] = {-2: f"urn:dev:org:tidegate:{device_id}:"}
    if number is not None:
        first[-257] = number
    rows = [{0: "t", 2: value} for value in values]
    return [{**first, **rows[0]}, *rows[1:]]


def points(server: ServerProcess, device_id: str) -> list[float]:
    rows = server.api("GET", f"/devices/{device_id}/telemetry", params={"limit": 500})["telemetry"]
    return [row["value"] for row in rows[::-1]]


def test_what_a_device_says_is_filed_like_from_mqtt(server, device):
    gate = device("c-says")
    assert gate.say("state", {1: True}).code == aiocoap.CHANGED
    assert gate.say("birth", birth("2.1.0", 7)).code == aiocoap.CHANGED
    assert gate.say("tele/env", pack("c-says", 20.5, 21.5)).code == aiocoap.CHANGED
    assert (
        gate.say("report", {2: NONCE, 4: True, -257: [1, 0], -258: 2, -259: 8, -261: [5, 10]}).code == aiocoap.CHANGED
    )
    assert gate.say("alarm", {1: "crash", 2: "watchdog"}).code == aiocoap.CHANGED
    shown = server.shown("c-says")
    assert (shown["protocol"], shown["online"], shown["version"], shown["sequence"]) == ("coap", True, "2.1.0", 7)
    assert shown["telemetry"]["t"]["value"] == 21.5 and shown["update"]["phase"] == "fetching"
    assert [alarm["kind"] for alarm in shown["alarms"]] == ["crash"]


def test_what_is_malformed_is_said_so_and_changes_nothing(server, device):
    gate = device("c-bad")
    gate.begin()
    for topic, body in (("tele/env", b"\xff"), ("birth", {1: 1}), ("tele/env", pack("c-else", 1.0)), ("tele/env", b"")):
        answer = gate.say(topic, body)
        assert answer.code == aiocoap.BAD_REQUEST and answer.payload, (topic, answer)
        gate.echo = None  # the session has begun, whatever was said in it
    assert gate.say("nothing", {1: 1}).code == gate.say("tele", {1: 1}).code == aiocoap.NOT_FOUND
    assert gate.say("state", {1: True}).code == aiocoap.CHANGED
    assert points(server, "c-bad") == []
    kinds = {alarm["kind"] for alarm in server.shown("c-bad")["alarms"]}
    assert kinds == {"bad-message"}


def test_nobody_else_can_speak_for_a_device(server, device):
    gate, other = device("c-mine"), device("c-other")
    assert gate.say("tele/env", pack("c-mine", 1.0)).code == aiocoap.CHANGED
    other.begin()
    path = "tg/c-mine/up/tele/env"
    forged = signed(other.session, path, 100, b"\xa1\x01\xf5")
    moved = signed(gate.session, "tg/c-mine/up/tele/else", 100, b"\xa1\x01\xf5")
    right = signed(gate.session, path, 100, b"\xa1\x01\xf5")
    for body in (b"", b"\x00", forged, moved, right[:-1] + bytes((right[-1] ^ 1,)), right[:-1], right + b"\0"):
        answer = other.send(POST, path, body)
        assert answer.code == aiocoap.UNAUTHORIZED and len(answer.opt.echo) == 16 and not answer.payload
    assert other.send(POST, "tg/nobody-at-all/up/birth", forged).code == aiocoap.UNAUTHORIZED, "who exists is not told"
    assert points(server, "c-mine") == [1.0]
    assert other.send(POST, path, right).code == aiocoap.BAD_REQUEST, "it is no telemetry, but it is the device's"


def test_a_message_sent_again_is_filed_once(server, device):
    gate = device("c-again")
    gate.begin()
    path = "tg/c-again/up/tele/env"
    from tidegate.wire.cbor import dumps

    first = signed(gate.session, path, 0, dumps(pack("c-again", 1.0)))
    for _ in range(3):  # each with another message id: the library's own deduplication does not see it
        assert gate.send(POST, path, first, echo=gate.echo).code == aiocoap.CHANGED
    late = signed(gate.session, path, 2, dumps(pack("c-again", 3.0)))
    early = signed(gate.session, path, 1, dumps(pack("c-again", 2.0)))
    for body in (late, early, late, early, first):
        assert gate.send(POST, path, body).code == aiocoap.CHANGED
    assert sorted(points(server, "c-again")) == [1.0, 2.0, 3.0]
    far = signed(gate.session, path, 100, dumps(pack("c-again", 4.0)))
    old = signed(gate.session, path, 60, dumps(pack("c-again", 5.0)))
    assert gate.send(POST, path, far).code == gate.send(POST, path, old).code == aiocoap.CHANGED
    assert sorted(points(server, "c-again")) == [1.0, 2.0, 3.0, 4.0], "too far back to know: taken for a repetition"


def test_a_recorded_session_is_worth_nothing_in_the_next(server, device):
    gate = device("c-tape")
    from tidegate.wire.cbor import dumps

    gate.begin()
    path, echo = "tg/c-tape/up/tele/env", gate.echo
    tape = signed(gate.session, path, 0, dumps(pack("c-tape", 1.0)))
    assert gate.send(POST, path, tape, echo=echo).code == aiocoap.CHANGED
    gate.begin()  # it started again
    assert gate.say("tele/env", pack("c-tape", 2.0)).code == aiocoap.CHANGED
    for options in ({"echo": echo}, {}, {"echo": bytes(16)}, {"echo": b"x"}):
        assert gate.send(POST, path, tape, **options).code == aiocoap.UNAUTHORIZED
    assert points(server, "c-tape") == [1.0, 2.0]
    assert gate.say("tele/env", pack("c-tape", 3.0)).code == aiocoap.CHANGED, "the session is as it was"


def test_new_credentials_end_the_old_ones(server, device):
    gate = device("c-key")
    assert gate.say("tele/env", pack("c-key", 1.0)).code == aiocoap.CHANGED
    fresh = server.api("POST", "/devices/c-key/credentials")["coap"]["key"]
    assert bytes.fromhex(fresh) != gate.key
    answer = gate.say("tele/env", pack("c-key", 2.0))
    assert answer.code == aiocoap.UNAUTHORIZED
    gate.use(answer.opt.echo)
    assert gate.say("tele/env", pack("c-key", 3.0)).code == aiocoap.UNAUTHORIZED
    gate.key = bytes.fromhex(fresh)
    gate.begin()
    assert gate.say("tele/env", pack("c-key", 4.0)).code == aiocoap.CHANGED
    assert fresh.encode() not in (server.data / "tidegate.db").read_bytes() + (server.data / "coap.secret").read_bytes()


def test_an_offer_is_observed_in_blocks_and_only_by_its_device(server, device, ring):
    gate, other = device("c-offer", "esp32"), device("c-thief", "esp32")
    gate.say("birth", {**birth(), 2: "esp32"})
    other.say("state", {1: True})
    heard = gate.observe("offer")
    assert heard == [b""]
    release = releases.make(ring.release, "3.0.0", 30, board="esp32")
    assert server.publish(release).status_code == 201
    envelope = release["envelopes"]["esp32"]
    eventually(lambda: heard[-1] == envelope, SLOW_S)
    assert gate.read("offer").payload == envelope
    etag = gate.read("offer").opt.etag
    assert gate.read("offer", etags=[etag]).code == aiocoap.VALID
    path = "tg/c-offer/down/offer"
    for query in (
        "",
        f"?a={read_tag(other.session, path)}",
        "?a=",
        f"?a={read_tag(gate.session, 'tg/c-offer/down/cmd')}",
    ):
        assert other.send(GET, path + query).code == aiocoap.UNAUTHORIZED
    block = gate.read("offer", block2=aiocoap.optiontypes.BlockOption.BlockwiseTuple(3, False, 2))
    assert block.payload == envelope[3 * 64 : 4 * 64] and block.opt.block2 == (3, len(envelope) > 256, 2)
    assert gate.read("offer/calibration").payload == b"" and gate.read("trust").payload == b""


def test_commands_go_out_once_in_order_and_are_answered(server, device, ring):
    gate = device("c-cmd")
    gate.say("birth", birth())
    first, second, third = (command_of(ring, "c-cmd", counter) for counter in (9001, 9002, 9003))
    assert send(server, "c-cmd", first).status_code == 202
    heard = gate.observe("cmd")
    assert heard == [first]
    assert send(server, "c-cmd", second).status_code == 202
    eventually(lambda: heard == [first, second], SLOW_S)
    assert gate.read("cmd").payload == b"", "both are gone out"
    assert server.api("GET", f"/commands/{9002:016x}")["state"] == "uplinked"
    for counter in (9001, 9002):
        assert gate.say("result", {1: counter.to_bytes(8, "big"), 2: 0}).code == aiocoap.CHANGED
        assert server.api("GET", f"/commands/{counter:016x}")["outcome"] == "done"
    assert send(server, "c-cmd", third).status_code == 202
    eventually(lambda: heard == [first, second, third], SLOW_S)


def test_a_command_over_coap_is_taken_back_answered_in_parts_and_never_handed_out_twice(server, device, ring):
    gate = device("c-parts")
    gate.say("birth", birth())
    first, second = (command_of(ring, "c-parts", counter) for counter in (9301, 9302))
    assert send(server, "c-parts", first).status_code == 202
    assert server.api("POST", f"/commands/{9301:016x}/cancel")["state"] == "cancelled"
    assert send(server, "c-parts", second).status_code == 202
    assert gate.observe("cmd") == [second]
    assert server.http.post(f"/api/v1/commands/{9302:016x}/cancel").status_code == 409
    cti = (9302).to_bytes(8, "big")
    for part in ({5: [0, True], 6: "one "}, {5: [1, True], 6: "two"}, {5: [1, True], 6: "two"}):
        assert gate.say("result", {1: cti, 2: 3, **part}).code == aiocoap.CHANGED
    assert gate.say("result", {1: cti, 2: 0, 5: [2, False]}).code == aiocoap.CHANGED
    told = server.api("GET", f"/commands/{9302:016x}")
    assert (told["output"], told["outcome"], told["missing_parts"]) == ("one two", "done", [])
    assert [step["why"] for step in told["history"]][2] == "taken by the device, over CoAP"
    assert gate.read("cmd").payload == b""


def begin_raw(peer: raw.Peer, gate: CoapDevice) -> bytes:
    """A session of `gate` from this socket, shown by a first message; returns its key."""
    gate.use(peer.ask(raw.POST, f"tg/{gate.id}/up/birth").options[raw.ECHO])
    path = f"tg/{gate.id}/up/state"
    answer = peer.ask(raw.POST, path, signed(gate.session, path, 0, b"\xa1\x01\xf5"), (raw.ECHO, gate.echo))
    assert answer.code == 2 << 5 | 4
    return gate.session


def test_a_command_that_did_not_arrive_waits_again(server, device, ring):
    """The device's socket is closed when the command comes: the network says so, and the command is not lost."""
    gate = device("c-lost")
    peer = raw.Peer(server.coap)
    session = begin_raw(peer, gate)
    path = "tg/c-lost/down/cmd"
    assert peer.ask(raw.GET, f"{path}?a={read_tag(session, path)}", b"", (raw.OBSERVE, b"")).code == 2 << 5 | 5
    assert server.shown("c-lost")["online"]
    peer.close()
    message = command_of(ring, "c-lost", 9100)
    assert send(server, "c-lost", message).status_code == 202
    eventually(lambda: not server.shown("c-lost")["online"], SLOW_S)
    eventually(lambda: server.api("GET", f"/commands/{9100:016x}")["state"] == "verified", SLOW_S)
    gate.begin()
    gate.say("state", {1: True})
    assert gate.observe("cmd") == [message]


def test_a_command_that_is_reset_waits_again_and_one_acknowledged_does_not(server, device, ring):
    """A device that started anew knows nothing of an observation, and says so by a reset."""
    gate = device("c-reset")
    peer = raw.Peer(server.coap, timeout_s=SLOW_S)
    session = begin_raw(peer, gate)
    path = "tg/c-reset/down/cmd"
    first, second = command_of(ring, "c-reset", 9200), command_of(ring, "c-reset", 9201)

    assert peer.ask(raw.GET, f"{path}?a={read_tag(session, path)}", b"", (raw.OBSERVE, b"")).payload == b""
    assert send(server, "c-reset", first).status_code == 202
    told = peer.receive()
    assert told.type == raw.CON and told.payload == first and raw.OBSERVE in told.options
    peer.socket.send(raw.encode(raw.RST, 0, told.mid, b"", []))
    eventually(lambda: server.api("GET", f"/commands/{9200:016x}")["state"] == "verified", SLOW_S)
    answer = peer.ask(raw.GET, f"{path}?a={read_tag(session, path)}", b"", (raw.OBSERVE, b""))
    assert answer.payload == first and server.shown("c-reset")["online"], "it is there, it only forgot"
    assert send(server, "c-reset", second).status_code == 202
    told = peer.receive()
    assert told.payload == second
    peer.socket.send(raw.encode(raw.ACK, 0, told.mid, b"", []))
    assert peer.ask(raw.GET, ".well-known/core").code == 2 << 5 | 5
    peer.close()
    third = command_of(ring, "c-reset", 9202)
    assert send(server, "c-reset", third).status_code == 202
    eventually(lambda: not server.shown("c-reset")["online"], SLOW_S)
    eventually(lambda: server.api("GET", f"/commands/{9202:016x}")["state"] == "verified", SLOW_S)
    assert server.api("GET", f"/commands/{9201:016x}")["state"] == "uplinked", "that one has arrived"


def test_payloads_in_blocks_with_resume(server, device, loop):
    data = random.Random(5).randbytes(5000)
    name = releases.digest(data)
    server.api("PUT", f"/payloads/{name}", content=data)
    anyone = CoapDevice("anyone", b"", server.coap, loop)
    try:
        refused = anyone.send(GET, f"p/{name}")
        assert refused.code == aiocoap.UNAUTHORIZED, "a block is larger than three times the request"
        whole = anyone.send(GET, f"p/{name}", echo=refused.opt.echo)
        assert whole.payload == data and whole.opt.etag == bytes.fromhex(name)[:8]
        block = aiocoap.optiontypes.BlockOption.BlockwiseTuple
        seventh = anyone.send(GET, f"p/{name}", block2=block(7, False, 5))
        assert seventh.payload == data[7 * 512 : 8 * 512] and seventh.opt.block2 == (7, True, 5)
        last = anyone.send(GET, f"p/{name}", block2=block(9, False, 5))
        assert last.payload == data[9 * 512 :] and last.opt.block2 == (9, False, 5)
        assert anyone.send(GET, f"p/{name}", block2=block(10, False, 5)).code == aiocoap.BAD_REQUEST
        assert anyone.send(GET, f"p/{name}", etags=[bytes.fromhex(name)[:8]]).code == aiocoap.VALID
        for missing in ("p/" + "0" * 64, "p/x", "p/../coap.secret", "p/", "p", "q", ""):
            assert anyone.send(GET, missing).code == aiocoap.NOT_FOUND, missing
        assert anyone.send(POST, f"p/{name}").code == aiocoap.METHOD_NOT_ALLOWED
        core = anyone.send(GET, ".well-known/core")
        assert b"</p>" in core.payload and core.opt.content_format == 40
    finally:
        anyone.close()


@pytest.mark.broker
def test_payloads_to_libcoap(server, tmp_path):
    data = random.Random(6).randbytes(9000)
    name = releases.digest(data)
    server.api("PUT", f"/payloads/{name}", content=data)
    out = tmp_path / "payload"
    for options in ([], ["-b", "256"]):  # the first is large enough to be asked for an Echo
        command = [
            programs.require("coap-client-notls"),
            "-B",
            "20",
            *options,
            "-o",
            str(out),
            f"{server.coap}/p/{name}",
        ]
        subprocess.run(command, check=True, timeout=limit(60), capture_output=True)
        assert out.read_bytes() == data
        out.unlink()
    core = [programs.require("coap-client-notls"), "-B", "20", f"{server.coap}/.well-known/core"]
    assert b"</p>" in subprocess.run(core, check=True, timeout=limit(60), capture_output=True).stdout


def test_answers_to_strangers_are_short(server):
    """RFC 9175, section 2.4: at most three times the bytes, IP and UDP headers included, until the address is known."""
    data = random.Random(7).randbytes(3000)
    name = releases.digest(data)
    server.api("PUT", f"/payloads/{name}", content=data)
    peer = raw.Peer(server.coap)
    try:
        requests = [
            (raw.GET, f"p/{name}", b"", ()),
            (raw.GET, f"p/{name}", b"", ((raw.BLOCK2, b"\x02"),)),
            (raw.GET, ".well-known/core", b"", ()),
            (raw.POST, "tg/gw/up/birth", b"", ()),
            (raw.POST, "tg/gw/up/birth", b"\xff" * 50, ()),
            (raw.GET, "tg/gw/down/offer?a=0123456789abcdef", b"", ()),
        ]
        for code, path, payload, options in requests:
            asked = peer.send(code, path, payload, *options)
            assert peer.receive().size + 28 <= 3 * (asked + 28), path
        echo = peer.ask(raw.GET, f"p/{name}").options[raw.ECHO]
        assert len(peer.ask(raw.GET, f"p/{name}", b"", (raw.ECHO, echo)).payload) == 1024
        assert len(peer.ask(raw.GET, f"p/{name}", b"", (raw.BLOCK2, b"\x16")).payload) == 1024, "it is known now"
        stranger = raw.Peer(server.coap)
        assert stranger.ask(raw.GET, f"p/{name}", b"", (raw.ECHO, echo)).code == 4 << 5 | 1, "given to another address"
        stranger.close()
    finally:
        peer.close()


def test_long_messages_in_blocks_and_too_long_ones(server, device):
    gate = device("c-long")
    body = pack("c-long", *(float(n) for n in range(60)))
    for row in body:
        row[0] = "a-rather-long-name-of-a-measurement-" + str(row[2])
    assert gate.say("tele/env", body).code == aiocoap.CHANGED
    assert len(points(server, "c-long")) == 60
    answer = gate.say("tele/env", b"\x00" * 5000)
    assert answer.code == aiocoap.REQUEST_ENTITY_TOO_LARGE
    peer = raw.Peer(server.coap)
    path = "tg/c-long/up/tele/env"
    assert peer.ask(raw.POST, path, b"x" * 16, (27, b"\x18")).code == 4 << 5 | 8, "a second block without a first"
    assert peer.ask(raw.POST, path, b"x" * 16, (27, b"\x08")).code == 2 << 5 | 31
    assert peer.ask(raw.POST, path, b"x" * 15, (27, b"\x18")).code == 4 << 5, "a block that is no block"
    peer.close()


def answers(peer: raw.Peer) -> bool:
    try:
        return peer.ask(raw.GET, ".well-known/core").code == 2 << 5 | 5
    except TimeoutError:
        return False


def test_malformed_datagrams_and_options_change_nothing(server):
    peer = raw.Peer(server.coap)
    chance = random.Random(11)
    good = raw.encode(
        raw.CON, raw.POST, 7, b"ab", [(11, b"tg"), (11, b"gw"), (11, b"up"), (11, b"birth")], b"\x00" * 30
    )
    for number in range(400):
        datagram = bytearray(good)
        for _ in range(chance.randrange(1, 6)):
            datagram[chance.randrange(len(datagram))] = chance.randrange(256)
        datagram[2:4] = number.to_bytes(2, "big")
        peer.socket.send(bytes(datagram[: chance.randrange(len(datagram) + 1)]) if number % 3 else bytes(datagram))
    peer.close()
    for _ in range(50):  # each from a socket of its own: answers to those before do not disturb
        peer.socket.close()
        peer = raw.Peer(server.coap)
        peer.socket.send(chance.randbytes(chance.randrange(1, 200)))
    peer.close()
    peer = raw.Peer(server.coap, timeout_s=0.5)
    eventually(lambda: answers(peer), SLOW_S)  # the flood above was more than one host may send
    peer.socket.settimeout(limit(10))
    assert peer.ask(raw.GET, ".well-known/core", b"", (35, b"coap://elsewhere/")).code == 5 << 5 | 5, "no proxy"
    assert peer.ask(raw.GET, ".well-known/core", b"", (65001, b"")).code == 4 << 5 | 2, "an option that must be known"
    assert peer.ask(raw.GET, ".well-known/core", b"", (17, b"\x32")).code == 4 << 5 | 6, "no JSON here"
    assert peer.ask(raw.GET, ".well-known/core").code == 2 << 5 | 5
    peer.close()
    assert "Traceback" not in server.log.read_text()


def test_it_says_where_and_stops_clean(start, loop):
    server = start("--coap", "127.0.0.1:0")
    port = int(server.coap.rpartition(":")[2])
    body = {"id": "c-stop", "board": BOARD, "product": PRODUCT}
    gate = CoapDevice(
        "c-stop", bytes.fromhex(server.api("POST", "/devices", json=body)["coap"]["key"]), server.coap, loop
    )
    gate.say("state", {1: True})
    gate.observe("cmd")
    command = [*server.process.args[:3], "serve", "--data", str(server.data.parent / "other"), "--http", "127.0.0.1:0"]
    command += ["--mqtt", "127.0.0.1:0", "--coap", f"127.0.0.1:{port}"]
    taken = subprocess.run(command, capture_output=True, text=True, timeout=limit(60))
    assert taken.returncode == 1 and "--coap" in taken.stderr and str(port) in taken.stderr
    assert server.stop() == 0 and "Traceback" not in server.log.read_text()
    gate.close()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", port))
    assert (server.data / "coap.secret").stat().st_mode & 0o777 == 0o600


def test_a_session_outlives_a_restart(start, loop):
    server = start("--coap", "127.0.0.1:0")
    body = {"id": "c-up", "board": BOARD, "product": PRODUCT}
    key = bytes.fromhex(server.api("POST", "/devices", json=body)["coap"]["key"])
    gate = CoapDevice("c-up", key, server.coap, loop)
    assert gate.say("tele/env", pack("c-up", 1.0)).code == aiocoap.CHANGED
    assert server.stop() == 0
    server = start("--coap", "127.0.0.1:0", data=server.data)
    gate.url = server.coap
    assert gate.say("tele/env", pack("c-up", 2.0)).code == aiocoap.CHANGED
    assert points(server, "c-up") == [1.0, 2.0]
    gate.close()
