"""Simulated boards say what boards say: their messages are those of the vectors, byte for byte, and decode strictly."""

from __future__ import annotations

import asyncio
import json
import random
from pathlib import Path
from typing import Any

import pytest

from tidegate.simulate import http, mqtt
from tidegate.simulate.conditions import Conditions
from tidegate.wire import messages, senml
from tidegate.wire.cbor import loads

VECTORS = Path(__file__).parents[2] / "vectors"
READ = {
    "birth": messages.birth,
    "state": messages.state,
    "report": messages.report,
    "result": messages.result,
    "alarm": messages.alarm,
}


def vectors() -> list[tuple[str, bytes]]:
    """(kind, message) of each good message of a device in the vectors."""
    entries = json.loads((VECTORS / "messages.json").read_text())
    return [(one["kind"], bytes.fromhex(one["message"])) for one in entries if one["kind"] in READ and "value" in one]


@pytest.mark.parametrize(("kind", "data"), vectors())
def test_what_is_encoded_by_names_is_what_the_vectors_have(kind: str, data: bytes) -> None:
    tables = messages._TABLES[kind]
    by_name = {tables[label][0]: value for label, value in loads(data).items()}
    assert messages.encode(kind, **by_name) == data


def test_a_name_that_the_message_does_not_have_is_refused() -> None:
    with pytest.raises(KeyError):
        messages.encode("state", online=True, progress=1)


def test_a_pack_decodes_to_what_went_in() -> None:
    data = senml.encode("gw-1", [("temperature", 21.5, "Cel"), ("supply", 3.3, "V")], 7, age_s=2)
    pack = senml.read(data, 1000.0)
    assert pack.number == 7 and [record["time"] for record in pack.records] == [998.0, 998.0]
    assert [(r["name"], r["value"], r["unit"]) for r in pack.records] == [
        ("urn:dev:org:tidegate:gw-1:temperature", 21.5, "Cel"),
        ("urn:dev:org:tidegate:gw-1:supply", 3.3, "V"),
    ]


class Ears:
    def __init__(self) -> None:
        self.heard: list[Any] = []

    def message(self, topic: str, payload: bytes) -> None:
        self.heard.append((topic, payload))

    def acknowledged(self, number: int) -> None:
        self.heard.append(number)

    def lost(self, reason: str) -> None:
        self.heard.append(reason)


class Wires:
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        self.written = b""
        self.aborted = False

    def write(self, data: bytes) -> None:
        self.written += data

    def abort(self) -> None:
        self.aborted = True

    def is_closing(self) -> bool:
        return self.aborted


def packets() -> bytes:
    """CONNACK, SUBACK of number 1, a long PUBLISH at QoS 1 with number 9, PUBACK of number 2, a short one at QoS 0."""
    long = b"\x00\x01a" + b"\x00\x09" + b"x" * 300
    return b"\x20\x02\0\0" + b"\x90\x03\0\1\1" + b"\x32\xb1\x02" + long + b"\x40\x02\0\2" + b"\x30\x04\0\1b!"


@pytest.mark.parametrize("seed", range(20))
def test_packets_are_read_wherever_they_are_cut(seed: int) -> None:
    async def go() -> None:
        dice, ears, wires = random.Random(seed), Ears(), Wires()
        link = mqtt.Link(b"first", ears)
        link.connection_made(wires)  # type: ignore[arg-type]
        subscribed = link.subscribe("a")
        assert link.publish(b"t", b"payload") == 2
        data = packets()
        while data:
            cut = dice.randint(1, len(data)) if seed else 1
            link.data_received(data[:cut])
            data = data[cut:]
        assert link.open and subscribed.done() and link.ready.done()
        assert ears.heard == [("a", b"x" * 300), 2, ("b", b"!")]
        assert wires.written.endswith(b"\x40\x02\x00\x09"), "the message of QoS 1 is acknowledged, by its number"
        assert wires.written.startswith(b"first\x82")

    asyncio.run(go())


def test_a_refused_subscription_ends_the_connection() -> None:
    async def go() -> None:
        wires = Wires()
        link = mqtt.Link(b"", Ears())
        link.connection_made(wires)  # type: ignore[arg-type]
        subscribed = link.subscribe("a", "b")
        link.data_received(b"\x20\x02\0\0" + b"\x90\x04\0\1\1\x80")
        with pytest.raises(mqtt.LinkError, match="subscription"):
            await subscribed
        assert wires.aborted

    asyncio.run(go())


def test_a_refusal_and_a_loss_end_what_waits() -> None:
    async def go() -> None:
        for data, words in ((b"\x20\x02\0\5", "code 5"), (b"", "connection lost")):
            ears, wires = Ears(), Wires()
            link = mqtt.Link(b"", ears)
            link.connection_made(wires)  # type: ignore[arg-type]
            pong = link.ping()
            link.data_received(data)
            link.connection_lost(None)
            with pytest.raises(mqtt.LinkError, match=words):
                await link.ready
            with pytest.raises(mqtt.LinkError):
                await pong
            assert ears.heard == ["connection lost"] and not link.open

    asyncio.run(go())


def test_a_bad_link_delays_and_keeps_the_order() -> None:
    async def go() -> None:
        loop, arrived = asyncio.get_running_loop(), []
        bad = Conditions(0.01, 0.05, 0.3, random.Random(5))
        began = loop.time()
        for number in range(20):
            bad.after(bad.up, arrived.append, number)
        assert not arrived
        while len(arrived) < 20:
            await asyncio.sleep(0.01)
        assert arrived == list(range(20)) and loop.time() - began > 0.3, "at least one was sent again"

    asyncio.run(go())


@pytest.mark.parametrize("cut", [None, 700])
def test_a_download_resumes_where_it_was_cut_off(cut: int | None) -> None:
    body = random.Random(2).randbytes(2000)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        first = int(head.partition("bytes=")[2].partition("-")[0] or 0)
        status = f"206 Partial Content\r\nContent-Range: bytes {first}-1999/2000" if first else "200 OK"
        writer.write(f"HTTP/1.1 {status}\r\nContent-Length: {2000 - first}\r\n\r\n".encode() + body[first:])
        writer.close()

    async def go() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        site = http.Site.of(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        answer = await http.get(site, "/p/x", 0, cut)
        assert answer.whole is (cut is None) and answer.total == 2000 and answer.body == body[: cut or 2000]
        rest = await http.get(site, "/p/x", len(answer.body) or 1)
        assert rest.status in (200, 206)
        if cut:
            assert answer.body + rest.body == body and rest.total == 2000
        server.close()

    asyncio.run(go())


def test_an_answer_that_is_none_is_an_error() -> None:
    async def serve(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 what\r\n\r\n")
        writer.close()

    async def go() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        site = http.Site.of(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        with pytest.raises(http.HttpError, match="malformed answer"):
            await http.get(site, "/p/x")
        server.close()

    asyncio.run(go())
