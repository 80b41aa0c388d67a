"""The broker inside acknowledges what the server has, and stops reading while it has not."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Callable, Iterator

import pytest
from server_process import eventually

from ota_server.broker import Access, EmbeddedBroker, handover
from ota_server.broker.codec import Message
from ota_server.broker.connection import MAX_OWED


class Server:
    """Takes what devices publish, and says when it has it."""

    def __init__(self) -> None:
        self.has: list[tuple[Message, bool, Callable[[], None]]] = []
        access = Access("tidegate_server", lambda p: p == b"server", lambda user, p: p == user[::-1].encode())
        self.broker = EmbeddedBroker("127.0.0.1", 0, access, uplink=self.take)

    def take(self, message: Message, again: bool, done: Callable[[], None]) -> None:
        self.has.append((message, again, done))

    def settle(self, first: int, last: int) -> None:
        self.broker.settle([done for _, _, done in self.has[first:last]])


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    server.broker.start()
    yield server
    server.settle(0, len(server.has))
    server.broker.stop()


def text(value: bytes) -> bytes:
    return struct.pack(">H", len(value)) + value


def publish(number: int, flags: int = 0x32, name: bytes = b"gw-1") -> bytes:
    body = text(b"tg/%s/up/n" % name) + struct.pack(">H", number) + b"%d" % number
    return bytes([flags, len(body)]) + body


@contextlib.contextmanager
def device(server: Server, name: bytes = b"gw-1") -> Iterator[socket.socket]:
    body = text(b"MQTT") + b"\x04\xc6\0\x3c" + text(name) + text(b"tg/%s/up/state" % name) + text(b"gone")
    body += text(name) + text(name[::-1])
    with socket.create_connection(server.broker.address, timeout=30) as sock:
        sock.sendall(bytes([0x10, len(body)]) + body)
        assert sock.recv(4) == b"\x20\x02\0\0"
        yield sock


def acknowledged(sock: socket.socket, count: int) -> list[int]:
    data = bytearray()
    while len(data) < 4 * count:
        data += sock.recv(4 * count - len(data))
    return [struct.unpack(">H", data[at + 2 : at + 4])[0] for at in range(0, len(data), 4)]


def quiet(sock: socket.socket) -> bool:
    sock.settimeout(0.2)
    with contextlib.suppress(TimeoutError):
        return sock.recv(1) == b""
    sock.settimeout(30)
    return True


def test_what_the_server_does_not_have_is_not_acknowledged_and_not_read_on(server):
    with device(server) as sock:
        sock.sendall(b"".join(publish(number) for number in range(1, 101)))
        eventually(lambda: len(server.has) == MAX_OWED)
        assert quiet(sock)
        server.settle(1, 10)
        assert quiet(sock), "acknowledgements keep their order"
        server.settle(0, 1)
        assert acknowledged(sock, 10) == list(range(1, 11))
        eventually(lambda: len(server.has) == MAX_OWED + 10)
        server.settle(10, MAX_OWED + 10)
        eventually(lambda: len(server.has) == 100)
        server.settle(MAX_OWED + 10, 100)
        assert acknowledged(sock, 90) == list(range(11, 101))
        assert [int(message.payload) for message, *_ in server.has] == list(range(1, 101))


def test_all_devices_together_wait_for_room_and_one_that_comes_back_does_not_hang(server, monkeypatch):
    monkeypatch.setattr(handover, "MAX_WAITING", 5)
    server.broker.stop()
    server.__init__()
    server.broker.start()
    with device(server, b"gw-2") as other:
        with device(server) as sock:
            sock.sendall(b"".join(publish(number) for number in range(1, 9)))
            eventually(lambda: len(server.has) == 5)
            other.sendall(publish(1, name=b"gw-2"))
            with device(server) as again:  # takes over the connection that waits for room
                eventually(lambda: [m.payload for m, *_ in server.has][5:] == [b"gone"])
                again.sendall(publish(6, 0x3A))
                server.settle(0, 5)
                eventually(lambda: len(server.has) == 8)
                assert [sent_again for _, sent_again, _ in server.has].count(True) == 1
                server.settle(5, 8)
                assert acknowledged(again, 1) == [6]
        assert acknowledged(other, 1) == [1]


def test_a_message_of_qos_2_is_handed_over_once(server):
    with device(server) as sock:
        sock.sendall(publish(7, 0x34) + publish(7, 0x3C))
        eventually(lambda: len(server.has) == 1)
        assert quiet(sock)
        server.settle(0, 1)
        assert acknowledged(sock, 2) == [7, 7]
        assert len(server.has) == 1
