"""One device cannot stop the others: client ids, room for retained messages, work for each packet, bursts."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
import time
from collections.abc import Iterator

import pytest
from paho_client import Client
from server_process import eventually

from ota_server.broker import Access, EmbeddedBroker, Principal, server, session
from ota_server.broker.codec import Message
from ota_server.broker.server import Broker
from ota_server.broker.session import Session
from ota_server.broker.topics import MAX_DEVICE_RETAINED, Retained, matches, valid_filter, valid_name

SERVER = "tidegate_server"


def access() -> Access:
    """Every device's password is its own name, backwards."""
    return Access(SERVER, lambda p: p == b"server", lambda user, p: p == user[::-1].encode())


@pytest.fixture
def broker() -> Iterator[EmbeddedBroker]:
    broker = EmbeddedBroker("127.0.0.1", 0, access())
    broker.start()
    yield broker
    broker.stop()


@pytest.fixture
def connect(broker: EmbeddedBroker) -> Iterator:
    clients: list[Client] = []

    def make(*args, **kwargs) -> Client:
        clients.append(Client(broker.address[1], *args, **kwargs))
        return clients[-1]

    yield make
    for client in clients:
        with contextlib.suppress(Exception):
            client.leave()


def text(value: bytes) -> bytes:
    return struct.pack(">H", len(value)) + value


def packet(kind: int, body: bytes) -> bytes:
    size, left = bytearray(), len(body)
    while True:
        left, low = left >> 7, left & 127
        size.append(low | (128 if left else 0))
        if not left:
            return bytes([kind]) + bytes(size) + body


@contextlib.contextmanager
def raw(broker: EmbeddedBroker, user: bytes, password: bytes | None = None, client_id: bytes | None = None) -> Iterator:
    body = text(b"MQTT") + b"\x04\xc2\0\x3c" + text(client_id or user) + text(user) + text(password or user[::-1])
    with socket.create_connection(broker.address, timeout=60) as sock:
        sock.sendall(packet(0x10, body))
        assert sock.recv(4) == b"\x20\x02\0\0"
        yield sock


def ping_s(sock: socket.socket) -> float:
    began = time.monotonic()
    sock.sendall(b"\xc0\0")
    assert sock.recv(2) == b"\xd0\0"
    return time.monotonic() - began


@pytest.mark.parametrize("clean", [True, False])
def test_a_client_id_belongs_to_its_user(connect, clean):
    thief = connect("gw-1", client_id="gw-2", clean=clean)
    late = connect("gw-2", subscribe="tg/gw-2/down/#")
    assert late.code == 0, "whoever else calls itself gw-2"
    thief.leave()
    again = connect("gw-2", client_id="gw-2", subscribe="tg/gw-2/down/#")
    assert again.code == 0
    server = connect(SERVER, "server", client_id="gw-2")
    assert server.code != 0, "the server's user does not take the name of a device"
    assert connect("gw-3", client_id=SERVER).code in (0, 2)
    server = connect(SERVER, "server", client_id=SERVER)
    assert server.code == 0
    server.publish("tg/gw-2/down/cmd", b"for the right one")
    eventually(lambda: [p for _, p, _, _ in again.heard] == [b"for the right one"])
    assert thief.heard == []


def test_sessions_of_one_user_are_bounded(broker, connect):
    for number in range(server.MAX_USER_SESSIONS + 5):
        connect("gw-1", client_id=f"other-{number}", clean=False).leave()
    assert len(broker._broker._sessions[Principal("gw-1")]) == server.MAX_USER_SESSIONS
    for number in range(server.MAX_USER_SESSIONS + 3):
        assert connect("gw-2", client_id=f"open-{number}").code == 0
    eventually(lambda: len(broker._broker._sessions[Principal("gw-2")]) == server.MAX_USER_SESSIONS)


def test_the_tree_selects_what_the_filters_match():
    topics = [
        "a",
        "a/b",
        "a/b/c",
        "a//c",
        "/b",
        "b",
        "tg/x/up/state",
        "tg/y/up/state",
        "tg/x/up/tele/z",
        "tg/x/down/cmd",
    ]
    kept = Retained()
    for topic in topics:
        assert kept.keep(Message(topic, topic.encode(), 1, True))
    for pattern in (
        "#",
        "+",
        "+/+",
        "a/#",
        "a/+",
        "a/+/c",
        "a/b",
        "tg/+/up/#",
        "tg/x/#",
        "tg/+/+/state",
        "none/#",
        "+/b/#",
    ):
        assert sorted(m.topic for m in kept.select(pattern)) == sorted(t for t in topics if matches(pattern, t)), (
            pattern
        )
    for topic in topics:
        assert kept.get(topic) == Message(topic, topic.encode(), 1, True)
        assert kept.keep(Message(topic, b"", 1, True))
    assert len(kept) == 0 and not kept._root.below and kept._all.size == 0 and not kept._devices
    assert not valid_name("/".join("x" * 17)) and not valid_filter("/".join("x" * 17))


def test_one_devices_retained_messages_leave_room_for_everybody():
    kept = Retained(max_messages=200)
    assert sum(kept.keep(Message(f"tg/bad/up/{i}", b"x", 1, True)) for i in range(500)) == MAX_DEVICE_RETAINED
    assert kept.keep(Message("tg/bad/up/0", b"y", 1, True)), "what is there may change"
    assert kept.keep(Message("tg/good/up/state", b"x", 1, True))
    for device in range(50):  # many devices together
        for i in range(MAX_DEVICE_RETAINED):
            kept.keep(Message(f"tg/bad-{device}/up/{i}", b"x", 1, True))
    assert len(kept) == 100, "the other half is the server's"
    assert all(kept.keep(Message(f"tg/gw-{i}/down/offer", b"offer", 1, True)) for i in range(100))
    assert not kept.keep(Message("tg/one-more/down/offer", b"offer", 1, True))
    assert kept.keep(Message("tg/bad/up/0", b"", 1, True)) and kept.keep(Message("tg/bad/up/new", b"x", 1, True))


def test_a_long_retained_message_counts_by_its_length():
    kept = Retained()
    assert [kept.keep(Message(f"tg/gw-1/up/{i}", b"x" * 16_000, 1, True)) for i in range(9)].count(True) == 7


def test_what_cannot_be_kept_is_not_acknowledged(broker):
    with raw(broker, b"gw-1") as sock:
        for number in range(1, MAX_DEVICE_RETAINED + 1):
            sock.sendall(packet(0x33, text(b"tg/gw-1/up/%d" % number) + struct.pack(">H", number) + b"x"))
            assert sock.recv(4) == b"\x40\x02" + struct.pack(">H", number)
        sock.sendall(packet(0x33, text(b"tg/gw-1/up/more") + b"\x01\x01" + b"x"))
        assert ping_s(sock) < 60, "and the answer to the ping is the next one"


def test_the_server_learns_that_its_offer_was_not_kept(broker, connect):
    broker._broker.retained = Retained(max_messages=2)
    own = connect(SERVER, "server")
    told = [own.client.publish(f"tg/gw-{i}/down/offer", b"x", 1, retain=True) for i in range(3)]
    eventually(lambda: told[0].is_published() and told[1].is_published())
    time.sleep(0.5)
    assert not told[2].is_published()


def test_many_filters_in_one_packet_cost_the_sender_and_nobody_else(broker):
    for i in range(3000):
        broker._broker.retained.keep(Message(f"tg/gw-{i // 3}/down/{i % 3}", b"x" * 700, 1, True))
    pattern = text(b"tg/gw-2/down/#") + b"\0"
    subscribe = packet(0x82, b"\0\1" + pattern * ((16 * 1024 - 2) // len(pattern)))
    with raw(broker, b"gw-1") as good, raw(broker, b"gw-2") as bad:
        bad.sendall(subscribe * 3)
        time.sleep(0.1)
        assert max(ping_s(good) for _ in range(5)) < 1
        heard = bytearray()
        bad.settimeout(1)
        with contextlib.suppress(TimeoutError):
            while piece := bad.recv(65536):
                heard += piece
        assert heard.count(b"tg/gw-2/down/") <= 9, "each message once for each packet"


def test_more_retained_messages_than_a_queue_come_while_the_connection_is_read(broker, connect, monkeypatch):
    monkeypatch.setattr(session, "MAX_QUEUED_INTERNAL", 50)
    for i in range(1000):
        broker._broker.retained.keep(Message(f"tg/gw-{i}/up/state", b"x", 1, True))
    own = connect(SERVER, "server", subscribe="tg/+/up/#")
    device = connect("gw-1")
    device.publish("tg/gw-1/up/birth", b"meanwhile", 1)
    eventually(lambda: len(own.heard) == 1001)
    assert len({topic for topic, *_ in own.heard}) == 1001
    at = [payload for _, payload, _, _ in own.heard].index(b"meanwhile")
    assert at < 1000, "what is new takes turns with what was kept"


def test_a_retained_message_for_a_full_queue_waits_as_a_name():
    async def run() -> None:
        broker = Broker(access())
        away = Session("gw-1", Principal("gw-1"), clean=False)
        away.subscriptions["tg/gw-1/down/#"] = 1
        broker._sessions[away.principal] = {"gw-1": away}
        for i in range(session.MAX_QUEUED):
            assert await broker.route(Message("tg/gw-1/down/cmd", b"%d" % i, 1))
        assert not await broker.route(Message("tg/gw-1/down/cmd", b"too many", 1)), "not acknowledged"
        assert await broker.route(Message("tg/gw-1/down/offer", b"old", 1, True))
        assert await broker.route(Message("tg/gw-1/down/offer", b"new", 1, True))
        sent = []
        for number in range(1, 600):
            while (one := away.next_packet()) is not None:
                sent.append(one)
            away.acknowledged(number)
        offers = [one for one in sent if b"/down/offer" in one]
        assert len(sent) == session.MAX_QUEUED + 1 and len(offers) == 1 and offers[0].endswith(b"new")

    asyncio.run(run())


def test_what_the_server_has_no_room_for_is_not_acknowledged(monkeypatch):
    monkeypatch.setattr(session, "PUBLISHER_WAIT_S", 0.05)

    async def run() -> None:
        broker = Broker(access())
        own = Session("srv", broker.access.server, clean=False)
        own._limit = 3
        own.subscriptions["tg/+/up/#"] = 1
        broker._sessions[own.principal] = {"srv": own}
        assert [await broker.route(Message("tg/gw-1/up/report", b"x", 1)) for _ in range(4)] == [True] * 3 + [False]
        assert await broker.route(Message("tg/gw-1/down/cmd", b"x", 1)), "nobody subscribed: that is no lack of room"

    asyncio.run(run())


def test_whoever_writes_without_end_gives_others_their_turn(broker):
    """The server's own user has no rate: its packets are read in turns."""
    stop = threading.Event()

    def flood(sock: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while not stop.is_set():
                sock.sendall(b"\x40\x02\x00\x01" * 16_000)  # acknowledgements of nothing

    with raw(broker, SERVER.encode(), b"server", b"srv") as busy, raw(broker, b"gw-1") as good:
        thread = threading.Thread(target=flood, args=(busy,), daemon=True)
        thread.start()
        try:
            assert max(ping_s(good) for _ in range(10)) < 2
        finally:
            stop.set()
            busy.close()
            thread.join(10)


def test_connections_that_never_log_in_are_bounded_for_each_address(broker, monkeypatch):
    monkeypatch.setattr(server, "MAX_STRANGERS_OF_ADDRESS", 5)
    with contextlib.ExitStack() as stack:
        idle = [stack.enter_context(socket.create_connection(broker.address, timeout=30)) for _ in range(5)]
        eventually(lambda: broker._broker._strangers.total() == 5)
        extra = stack.enter_context(socket.create_connection(broker.address, timeout=30))
        assert extra.recv(1) == b"", "closed at once"
        elsewhere = stack.enter_context(
            socket.create_connection(broker.address, timeout=30, source_address=("127.0.0.2", 0))
        )
        elsewhere.sendall(packet(0x10, text(b"MQTT") + b"\x04\xc2\0\x3c" + text(b"g") + text(b"g") + text(b"g")))
        assert elsewhere.recv(4) == b"\x20\x02\0\0"
        for sock in idle:
            sock.close()
    eventually(lambda: not broker._broker._strangers and not broker._broker._connections)


def test_messages_of_qos_2_that_are_never_released_are_bounded(broker):
    with raw(broker, b"gw-1") as sock:
        got = bytearray()
        with contextlib.suppress(ConnectionError):
            for number in range(1, session.MAX_QOS2 + 2):
                sock.sendall(packet(0x34, text(b"tg/gw-1/up/x") + struct.pack(">H", number) + b"x"))
            while piece := sock.recv(4096):
                got += piece
        assert len(got) == 4 * session.MAX_QOS2, "then the connection is closed"


def test_what_a_client_does_wrong_is_logged_a_few_times(broker, caplog):
    with raw(broker, b"gw-1") as sock:
        for _ in range(150):
            sock.sendall(packet(0x30, text(b"tg/gw-2/up/x") + b"x"))
        ping_s(sock)
    lines = [record for record in caplog.records if "may not publish" in record.getMessage()]
    assert 0 < len(lines) <= server.WARNINGS_AT_ONCE + 3


def test_wrong_passwords_of_one_address_leave_others_their_turn():
    asked: list[float] = []

    def slow(user: str, password: bytes) -> bool:
        time.sleep(0.2 if user == "guess" else 0)
        asked.append(time.monotonic())
        return user != "guess"

    broker = EmbeddedBroker("127.0.0.1", 0, Access(SERVER, lambda p: False, slow))
    broker.start()
    try:
        with contextlib.ExitStack() as stack:
            for _ in range(60):
                sock = stack.enter_context(socket.create_connection(broker.address, timeout=30))
                sock.sendall(packet(0x10, text(b"MQTT") + b"\x04\xc2\0\x3c" + text(b"g") + text(b"guess") + text(b"x")))
            time.sleep(0.3)
            began = time.monotonic()
            other = stack.enter_context(
                socket.create_connection(broker.address, timeout=30, source_address=("127.0.0.2", 0))
            )
            other.sendall(packet(0x10, text(b"MQTT") + b"\x04\xc2\0\x3c" + text(b"g") + text(b"gw-1") + text(b"x")))
            assert other.recv(4) == b"\x20\x02\0\0"
            assert time.monotonic() - began < 2, "not after 60 guesses"
    finally:
        broker.stop()


def test_connecting_again_gives_a_device_no_new_allowance(broker, connect):
    own = connect(SERVER, "server", subscribe="tg/+/up/#")
    burst = packet(0x30, text(b"tg/gw-1/up/x") + b"m") * int(server.BURST)
    began = time.monotonic()
    for number in range(3):
        with raw(broker, b"gw-1", client_id=b"c%d" % (number % 2)) as sock:
            sock.sendall(burst)
            ping_s(sock)
    fair = server.BURST + (time.monotonic() - began) * server.RATE
    assert len(own.heard) <= fair + 2 * 2, "its connections have one allowance together"
    with raw(broker, b"gw-2") as other:
        assert ping_s(other) < 1


def test_leaving_many_filters_costs_as_much_as_subscribing_to_them(broker):
    names = text(b"a") * 2600
    with raw(broker, b"gw-2") as bad:
        began = time.monotonic()
        bad.sendall(packet(0xA2, b"\0\1" + names))
        assert bad.recv(4) == b"\xb0\x02\0\1"
        ping_s(bad)
        assert time.monotonic() - began > 1
