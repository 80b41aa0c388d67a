"""The broker inside, against clients that are not ours: paho, mosquitto's tools, and bytes by hand."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import subprocess
import threading
import time
from collections.abc import Iterator

import programs
import pytest
from paho_client import Client
from patience import limit
from server_process import eventually

from ota_server.broker import Access, EmbeddedBroker, Principal
from ota_server.broker.codec import Message
from ota_server.broker.server import Broker
from ota_server.broker.session import MAX_QUEUED, WINDOW, Session
from ota_server.broker.topics import matches, valid_filter, valid_name

SERVER = "tidegate_server"


@pytest.fixture
def port() -> Iterator[int]:
    """A broker where every device's password is its own name, backwards."""
    access = Access(SERVER, lambda p: p == b"server", lambda user, p: p == user[::-1].encode())
    broker = EmbeddedBroker("127.0.0.1", 0, access)
    yield broker.start()[1]
    broker.stop()


@pytest.fixture
def connect(port: int) -> Iterator:
    clients: list[Client] = []

    def make(*args, **kwargs) -> Client:
        clients.append(Client(port, *args, **kwargs))
        return clients[-1]

    yield make
    for client in clients:
        with contextlib.suppress(Exception):
            client.leave()


def test_filters_select_topics():
    yes = [
        ("a/b", "a/b"),
        ("a/+", "a/b"),
        ("#", "a/b"),
        ("a/#", "a"),
        ("a/#", "a/b/c"),
        ("+/+", "/b"),
        ("tg/+/up/#", "tg/x/up/tele/y"),
    ]
    no = [("a/b", "a"), ("a/+", "a"), ("a/+", "a/b/c"), ("tg/+/up/#", "tg/x/down/offer"), ("+", "/b")]
    assert all(matches(*pair) for pair in yes) and not any(matches(*pair) for pair in no)
    assert all(valid_filter(f) for f in ("#", "+", "a/+/b", "a/#", "/"))
    assert not any(valid_filter(f) for f in ("", "a/#/b", "a#", "a+", "+a/b", "x" * 300))
    assert valid_name("a/b") and not any(valid_name(t) for t in ("", "a/+", "a/#", "$SYS/x"))


def test_a_wrong_password_is_refused(connect):
    assert connect("gw-1", "wrong").code != 0
    assert connect("gw-1", "").code != 0
    assert connect(SERVER, "wrong").code != 0


def test_messages_reach_who_subscribed_at_the_lower_qos(connect):
    server = connect(SERVER, "server", subscribe="tg/+/up/#")
    device = connect("gw-1", subscribe="tg/gw-1/down/#")
    device.publish("tg/gw-1/up/tele/x", b"0", qos=0)
    device.publish("tg/gw-1/up/birth", b"1", qos=1)
    device.publish("tg/gw-1/up/report", b"2", qos=2)
    eventually(lambda: len(server.heard) == 3)
    assert [(t, p, q) for t, p, q, _ in server.heard] == [
        ("tg/gw-1/up/tele/x", b"0", 0), ("tg/gw-1/up/birth", b"1", 1), ("tg/gw-1/up/report", b"2", 1),
    ]  # fmt: skip
    server.publish("tg/gw-1/down/cmd", b"do", qos=1)
    eventually(lambda: device.heard == [("tg/gw-1/down/cmd", b"do", 1, False)])


def test_one_device_cannot_read_or_write_anothers_topics(connect):
    server = connect(SERVER, "server", subscribe="tg/+/up/#")
    assert server.codes == [1] and server.subscribe("tg/#") == [128]
    mine = connect("gw-1", subscribe="tg/gw-1/down/#")
    thief = connect("gw-2")
    for pattern in ("tg/gw-1/down/#", "tg/+/down/#", "#", "tg/gw-1/up/#", "+/gw-1/down/cmd", "tg/gw-2/up/#"):
        assert thief.subscribe(pattern) == [128], pattern
    for topic in ("tg/gw-1/up/state", "tg/gw-1/down/offer", "tg/gw-2/down/cmd", "other"):
        thief.publish(topic, b"forged", retain=True)
    server.publish("tg/gw-1/up/birth", b"", retain=True)
    server.publish("tg/gw-1/down/cmd", b"secret")
    eventually(lambda: mine.heard)
    assert [p for _, p, _, _ in mine.heard] == [b"secret"] and thief.heard == []
    thief.publish("tg/gw-2/up/state", b"own")
    eventually(lambda: b"own" in [p for _, p, _, _ in server.heard])
    assert b"forged" not in [p for _, p, _, _ in server.heard]


def test_a_last_will_may_not_leave_its_own_topics(connect):
    server = connect(SERVER, "server", subscribe="tg/+/up/#")
    assert connect("gw-2", will=("tg/gw-1/up/state", b"forged", 1, True)).code != 0
    device = connect("gw-1", will=("tg/gw-1/up/state", b"gone", 1, True))
    assert device.code == 0
    device.cut()
    eventually(lambda: ("tg/gw-1/up/state", b"gone", 1, False) in server.heard)
    assert b"forged" not in [p for _, p, _, _ in server.heard]
    quiet = connect("gw-3", will=("tg/gw-3/up/state", b"gone", 1, False))
    quiet.leave()
    time.sleep(0.2)
    assert not any(topic.startswith("tg/gw-3") for topic, *_ in server.heard), "a goodbye cancels the will"


def test_retained_messages_come_to_a_new_subscription_and_to_nobody_else(connect):
    server = connect(SERVER, "server")
    server.publish("tg/gw-1/down/offer", b"old", retain=True)
    server.publish("tg/gw-1/down/offer", b"new", retain=True)
    server.publish("tg/gw-2/down/offer", b"other", retain=True)
    bystander = connect("gw-9")
    device = connect("gw-1", subscribe="tg/gw-1/down/#")
    eventually(lambda: device.heard)
    time.sleep(0.2)
    assert device.heard == [("tg/gw-1/down/offer", b"new", 1, True)] and bystander.heard == []
    server.publish("tg/gw-1/down/offer", b"", retain=True)
    device.leave()
    assert connect("gw-1", subscribe="tg/gw-1/down/#").heard == []


def test_a_strangers_failed_login_leaves_a_connected_device_alone(connect):
    server = connect(SERVER, "server")
    device = connect("gw-1", subscribe="tg/gw-1/down/#")
    assert connect("gw-1", "wrong").code != 0
    assert connect("gw-2", client_id="gw-1").code != 0, "another user cannot take over a client id"
    server.publish("tg/gw-1/down/cmd", b"still here")
    eventually(lambda: [p for _, p, _, _ in device.heard] == [b"still here"])


def test_a_device_that_connects_again_replaces_its_old_connection(connect):
    server = connect(SERVER, "server", subscribe="tg/+/up/#")
    connect("gw-1", subscribe="tg/gw-1/down/#", will=("tg/gw-1/up/state", b"gone", 1, False))
    new = connect("gw-1", subscribe="tg/gw-1/down/#")
    assert new.code == 0
    eventually(lambda: ("tg/gw-1/up/state", b"gone", 1, False) in server.heard)
    server.publish("tg/gw-1/down/cmd", b"x")
    eventually(lambda: len(new.heard) == 1)


def test_a_session_that_is_kept_gets_what_it_missed(connect):
    server = connect(SERVER, "server")
    device = connect("gw-1", clean=False, subscribe="tg/gw-1/down/#")
    device.cut()
    time.sleep(0.2)
    for i in range(3):
        server.publish("tg/gw-1/down/cmd", b"%d" % i, qos=1)
    server.publish("tg/gw-1/down/cmd", b"lost", qos=0)
    back = connect("gw-1", clean=False)
    assert back.present
    eventually(lambda: [p for _, p, _, _ in back.heard] == [b"0", b"1", b"2"])
    back.leave()
    assert not connect("gw-1", clean=True).present


def raw(port: int, *packets: bytes, timeout: float = 30) -> bytes:
    """Send bytes, return all that comes until the broker closes the connection or is silent for `timeout`."""
    with socket.create_connection(("127.0.0.1", port), timeout=timeout) as sock:
        got = b""
        with contextlib.suppress(TimeoutError, ConnectionError):
            for packet in packets:
                sock.sendall(packet)
            while piece := sock.recv(4096):
                got += piece
        return got


def hello(
    user: bytes = b"gw-1", keepalive: int = 30, flags: int = 0xC2, protocol: bytes = b"\x00\x04MQTT\x04"
) -> bytes:
    def text(value: bytes) -> bytes:
        return len(value).to_bytes(2, "big") + value

    body = (
        protocol + bytes([flags]) + keepalive.to_bytes(2, "big") + text(b"raw-" + user) + text(user) + text(user[::-1])
    )
    return b"\x10" + bytes([len(body)]) + body


@pytest.mark.parametrize(
    "after",
    [
        pytest.param(b"\x10\x00", id="second CONNECT"),
        pytest.param(b"\xf0\x00", id="reserved type"),
        pytest.param(b"\x30\xff\xff\xff\xff\x01", id="length of five bytes"),
        pytest.param(b"\x30\xff\xff\xff\x7f", id="packet of 256 MiB"),
        pytest.param(b"\x36\x07\x00\x03a/b\x00\x01", id="QoS 3"),
        pytest.param(b"\x32\x07\x00\x03a/b\x00\x00", id="packet id 0"),
        pytest.param(b"\x30\x04\x00\x09ab", id="string longer than its packet"),
        pytest.param(b"\x30\x04\x00\x02\xff\xfe", id="not UTF-8"),
        pytest.param(b"\x30\x04\x00\x02a\x00", id="NUL in a topic"),
        pytest.param(b"\x30\x05\x00\x03a/#", id="wildcard in a topic"),
        pytest.param(b"\x80\x06\x00\x01\x00\x01a\x00", id="SUBSCRIBE without its flags"),
        pytest.param(b"\x82\x02\x00\x01", id="SUBSCRIBE without a filter"),
        pytest.param(b"\xc1\x00", id="flags in PINGREQ"),
    ],
)
def test_a_client_that_breaks_the_protocol_is_disconnected(port, after):
    assert raw(port, hello(), after) == b"\x20\x02\x00\x00"
    assert raw(port, hello(), b"\xc0\x00\xe0\x00") == b"\x20\x02\x00\x00\xd0\x00", "and the broker lives on"


def test_connects_that_are_refused(port):
    assert raw(port, hello(protocol=b"\x00\x04MQTT\x05")) == b"\x20\x02\x00\x01"
    assert raw(port, hello(protocol=b"\x00\x06MQIsdp\x03")) == b"\x20\x02\x00\x01"
    assert raw(port, hello(flags=0xC3)) == b""
    assert raw(port, b"\xc0\x00") == b"" and raw(port, b"GET / HTTP/1.1\r\n\r\n") == b""


def test_a_login_that_waits_for_its_older_connection_is_cut_off_with_it():
    """A device that connects again and again must not outlive its revocation in between."""

    async def run() -> bytes:
        broker = Broker(Access(SERVER, lambda p: False, lambda user, p: p == user[::-1].encode()))
        async with await asyncio.start_server(broker.accept, "127.0.0.1", 0) as listening:
            address = listening.sockets[0].getsockname()[:2]
            first, second = [await asyncio.open_connection(*address) for _ in range(2)]
            first[1].write(hello())
            assert await first[0].readexactly(4) == b"\x20\x02\x00\x00"
            (older,) = broker._holders.values()
            goodbye, asked, let = older._goodbye, asyncio.Event(), asyncio.Event()

            async def slow() -> None:
                asked.set()
                await let.wait()
                await goodbye()

            older._goodbye = slow
            second[1].write(hello())
            await asyncio.wait_for(asked.wait(), 30)
            await broker.dismiss("gw-1")
            let.set()
            told = await asyncio.wait_for(second[0].read(), 30)
            for _, writer in (first, second):
                writer.close()
            return told

    assert asyncio.run(run()) == b"\x20\x02\x00\x03", "refused, and cut off"


def test_a_silent_client_is_dropped_after_one_and_a_half_keepalives(port, connect):
    server = connect(SERVER, "server", subscribe="tg/+/up/#")
    body = b"\x00\x04MQTT\x04" + bytes([0xC6]) + (1).to_bytes(2, "big") + b"\x00\x03raw"
    body += b"\x00\x10tg/gw-1/up/state" + b"\x00\x04gone" + b"\x00\x04gw-1" + b"\x00\x041-wg"
    began = time.monotonic()
    assert raw(port, b"\x10" + bytes([len(body)]) + body) == b"\x20\x02\x00\x00"
    assert 1.4 < time.monotonic() - began < 20
    eventually(lambda: ("tg/gw-1/up/state", b"gone", 0, False) in server.heard)


def test_a_flood_is_slowed_down_and_nobody_else_waits(port, connect):
    server = connect(SERVER, "server", subscribe="tg/+/up/#")
    payload = b"\x30\x14\x00\x10tg/gw-1/up/tele/" + b"xx"
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.sendall(hello())
        sock.recv(4)
        sock.setblocking(False)
        flooded = time.monotonic()
        sent = 0
        with contextlib.suppress(BlockingIOError):
            while sent < 50_000:
                sent += sock.send(payload * 100) // len(payload)
        time.sleep(0.5)
        passed_s = time.monotonic() - flooded
        assert len(server.heard) < 200 + 50 * (passed_s + 2), "the bucket lets 200 through, then 50 a second"
        other = connect("gw-2")
        began = time.monotonic()
        other.publish("tg/gw-2/up/birth", b"here", qos=1)
        eventually(lambda: any(p == b"here" for _, p, _, _ in server.heard))
        assert time.monotonic() - began < 20, "the flood itself takes minutes"


def test_a_subscriber_that_reads_nothing_holds_up_nobody(port, connect):
    server = connect(SERVER, "server")
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.sendall(hello() + b"\x82\x13\x00\x01\x00\x0etg/gw-1/down/#\x00")
        time.sleep(0.2)
        for _ in range(1500):
            server.client.publish("tg/gw-1/down/cmd", b"x" * 16000, 0)
        server.publish("tg/gw-1/down/cmd", b"last", 1)


def test_a_queue_is_bounded():
    async def fill() -> None:
        session = Session("gw-1", Principal("gw-1"), clean=False)
        for i in range(MAX_QUEUED + 50):
            await session.put(Message("t", b"%d" % i, 1))
        sent = []
        while (packet := session.next_packet()) is not None:
            sent.append(packet)
        assert len(sent) == WINDOW, "the rest waits for acknowledgements"
        for number in range(1, 500):
            session.acknowledged(number)
            while (packet := session.next_packet()) is not None:
                sent.append(packet)
        assert len(sent) == MAX_QUEUED and session.dropped == 50

    asyncio.run(fill())


@pytest.mark.broker
def test_mosquittos_own_clients(port):
    def client(name: str, user: str, password: str, options: str) -> list[str]:
        return [programs.require(name), *f"-h 127.0.0.1 -p {port} -u {user} -P {password} {options}".split()]

    def say(what: str, qos: str) -> None:
        command = client("mosquitto_pub", "gw-1", "1-wg", f"-t tg/gw-1/up/{what} -q {qos} -m {what}")
        subprocess.run(command, check=True, timeout=limit(60))

    listen = client("mosquitto_sub", SERVER, "server", "-t tg/+/up/# -q 1 -v")
    listener = subprocess.Popen(listen, stdout=subprocess.PIPE, text=True)
    heard: list[str] = []
    reader = threading.Thread(target=lambda: heard.extend(line.strip() for line in listener.stdout), daemon=True)
    reader.start()
    try:
        eventually(lambda: say("there", "1") or heard)  # it has subscribed once it hears something
        for qos in "012":
            say(f"q{qos}", qos)
        eventually(lambda: "tg/gw-1/up/q2 q2" in heard)
    finally:
        listener.kill()
        listener.wait()
        reader.join(10)
    found = [line for line in heard if "there" not in line]
    assert found == ["tg/gw-1/up/q0 q0", "tg/gw-1/up/q1 q1", "tg/gw-1/up/q2 q2"]
