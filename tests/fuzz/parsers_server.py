"""Parsers of the server: what devices and the API's clients send."""

from __future__ import annotations

import asyncio
import json
import tempfile
from pathlib import Path

from parsers import Judge, Target, hexes, shared


def codec() -> Judge:
    from ota_server.broker import codec as module
    from ota_server.broker import topics

    kinds = (module.connect, module.subscribe, module.unsubscribe, lambda body: module.publish(2, body))

    async def packets(data: bytes) -> None:
        reader = asyncio.StreamReader()
        reader.feed_data(data)
        reader.feed_eof()
        while True:
            await module.read_packet(reader, 4096)

    def judge(data: bytes) -> None:
        for decode in kinds:
            try:
                found = decode(module.Body(data))
            except module.Malformed:
                continue
            if decode is kinds[1]:
                for pattern, _ in found[1]:
                    topics.valid_filter(pattern) and topics.matches(pattern, "tg/gate-1/up/tele/x")
        try:
            asyncio.run(packets(data))
        except (module.Malformed, asyncio.IncompleteReadError):
            pass

    return judge


def publishes() -> Judge:
    """What a broker sends, read in pieces of any size: the same messages, and the same bytes for paho."""
    from ota_server.mqtt.publishes import Arrived, Sifted

    class Socket:
        def __init__(self, data: bytes, piece: int) -> None:
            self.left = [data[at : at + piece] for at in range(0, len(data), piece)]

        def recv(self, _size: int) -> bytes:
            return self.left.pop(0) if self.left else b""

    def through(data: bytes, piece: int) -> tuple[list[Arrived], bytes]:
        arrived: list[Arrived] = []
        socket, others = Socket(data, piece), b""
        sifted = Sifted(socket, arrived.extend)
        while socket.left or sifted.pending():
            try:
                others += sifted.recv(7)
            except BlockingIOError:
                continue
        return arrived, others

    def judge(data: bytes) -> None:
        assert through(data, 1 << 16) == through(data, 3)

    return judge


KINDS = ("birth", "state", "report", "result", "alarm", "tele/air")


def ingest() -> Judge:
    from ota_server.store import Store
    from ota_server.store.engine import migrate
    from ota_server.store.models import Device
    from ota_server.uplink import ingest as module

    url = f"sqlite:///{Path(tempfile.mkdtemp(prefix='tidegate-fuzz-', dir=shared())) / 'db'}"
    migrate(url)
    store = Store(url)
    with store.write() as session:
        session.add(Device(id="gate-1", product="p", board="b", password_hash="", created_at=0))

    def judge(data: bytes) -> None:
        kind = KINDS[(data or b"\0")[0] % len(KINDS)]
        module.take(store, module.Message(f"tg/gate-1/up/{kind}", data[1:], False))

    return judge


def coap() -> Judge:
    from ota_server.coap import echo, mac

    echoes = echo.Echoes(bytes(32))

    def judge(data: bytes) -> None:
        found = mac.split(data)
        if found and mac._HEAD + found.protected + mac._UNPROTECTED not in data:
            raise AssertionError("it has another spelling")
        if echoes.good(data, "192.0.2.1"):
            raise AssertionError("a value that nobody gave")

    return judge


def api() -> Judge:
    from ota_server.api import alarm_shapes, publication_shapes, rollout_shapes, shapes, validate
    from ota_server.errors import Invalid

    rooms = (shapes, publication_shapes, rollout_shapes, alarm_shapes)
    found = [kind for room in rooms for kind in vars(room).values() if isinstance(kind, type)]
    bodies = [kind for kind in dict.fromkeys(found) if issubclass(kind, validate.Body) and kind is not validate.Body]

    def judge(data: bytes) -> None:
        try:
            value = json.loads(data[1:])
        except (ValueError, RecursionError):
            return
        try:
            validate.parse_body(bodies[(data or b"\0")[0] % len(bodies)], value)
        except Invalid:
            pass

    return judge


def addresses() -> Judge:
    from ota_server.mqtt.url import BrokerUrl
    from ota_server.webhooks import addresses as webhooks
    from tidegate.errors import TidegateError

    def judge(data: bytes) -> None:
        text = data.decode("latin-1")
        for parse in (BrokerUrl, lambda url: webhooks.parse(url, private=False).origin,
                      lambda url: webhooks.parse(url, private=True).origin):  # fmt: skip
            try:
                str(parse(text))
            except TidegateError:
                pass

    return judge


def messages() -> list[bytes]:
    return [bytes([kind]) + data for kind in range(len(KINDS)) for data in hexes("messages", "senml", most=16)]


CONNECT = bytes.fromhex("00044d51545404c2003c0003616263000175000170")
TARGETS = (
    Target("server.codec", ("ota_server.broker.codec", "ota_server.broker.topics"), codec,
           lambda: [CONNECT, b"\x10\x15" + CONNECT, b"\x00\x01\x00\x03a/+\x01", b"\x00\x03a/b\x00\x01x"]),
    Target("server.publishes", ("ota_server.mqtt.publishes",), publishes,
           lambda: [b"\x20\x02\0\0" + b"2\x0a\0\x03a/b\0\x01xyz" * 3 + b"\x90\x03\0\x01\x01" + b"0\x05\0\x03a/b"]),
    Target("server.ingest", ("ota_server.uplink.ingest", "ota_server.uplink.reading", "ota_server.uplink.batch"),
           ingest, messages),
    Target("server.coap", ("ota_server.coap.mac", "ota_server.coap.echo"), coap,
           lambda: [bytes.fromhex("d18446a2010406044401020304a041614801020304050607ff")]),
    Target("server.api", ("ota_server.api.shapes", "ota_server.api.publication_shapes", "ota_server.api.rollout_shapes",
                          "ota_server.api.alarm_shapes", "ota_server.api.validate"), api,
           lambda: [b'\x00{"id": "gate-1", "board": "b", "product": "p"}', b'\x01{"name": "x"}',
                    b'\x05{"release": "1", "group": "all", "share": 10}']),
    Target("server.addresses", ("ota_server.mqtt.url", "ota_server.webhooks.addresses"), addresses,
           lambda: [b"mqtts://u:p@h:8883", b"https://u.example:444/a?b", b"http://[::1]:80/"]),
)  # fmt: skip
