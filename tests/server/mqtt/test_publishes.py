"""PUBLISH packets taken out of what a broker sends; the rest is for paho, in order."""

from __future__ import annotations

import pytest

from ota_server.mqtt.publishes import Arrived, Sifted

CONNACK, SUBACK, PINGRESP = b"\x20\x02\x01\x00", b"\x90\x03\x00\x01\x01", b"\xd0\x00"
FIRST = b"\x32\x0b\x00\x03a/b\x00\x07\xff\x00\x01\x02"
LONG = b"\x3b\xb2\x01" + b"\x00\x03a/b\x12\x34" + b"x" * 171  # sent again, retained, two bytes of length
PLAIN = b"\x30\x05\x00\x03a/b"  # of QoS 0, empty
TWICE = b"\x34\x08\x00\x03a/b\x00\x09x"  # of QoS 2: for paho
MESSAGES = [
    Arrived(b"a/b", b"\xff\x00\x01\x02", 7, False, False),
    Arrived(b"a/b", b"x" * 171, 0x1234, True, True),
    Arrived(b"a/b", b"", 0, False, False),
]


class Socket:
    """Gives its pieces one by one, and then has nothing. pending: what TLS has read and not given."""

    def __init__(self, *pieces: bytes, end: bool = False) -> None:
        self.pieces, self.end = list(pieces), end

    def recv(self, _size: int) -> bytes:
        if self.pieces:
            return self.pieces.pop(0)
        if self.end:
            return b""
        raise BlockingIOError


def read(sifted: Sifted, socket: Socket, size: int = 1) -> bytes:
    """What paho gets, asking as it does: again as long as there is something."""
    got = b""
    while socket.pieces or sifted.pending():
        try:
            got += sifted.recv(size)
        except BlockingIOError:
            continue
    return got


def test_every_cut_gives_the_same() -> None:
    stream = CONNACK + FIRST + LONG + SUBACK + PLAIN + TWICE + PINGRESP
    for cut in range(1, len(stream)):
        arrived: list[Arrived] = []
        socket = Socket(stream[:cut], stream[cut:])
        assert read(Sifted(socket, arrived.extend), socket) == CONNACK + SUBACK + TWICE + PINGRESP, cut
        assert arrived == MESSAGES, cut


def test_messages_are_handed_on_together() -> None:
    batches: list[list[Arrived]] = []
    socket = Socket((FIRST + LONG + PLAIN) * 50)
    read(Sifted(socket, batches.append), socket)
    assert batches == [MESSAGES * 50]


def test_a_message_waits_for_the_packet_before_it() -> None:
    """What follows CONNACK belongs to the new connection, which paho must have heard of first."""
    arrived: list[Arrived] = []
    socket = Socket(CONNACK + FIRST)
    sifted = Sifted(socket, arrived.extend)
    got = b"".join(sifted.recv(1) for _ in CONNACK)
    assert got == CONNACK and not arrived and sifted.pending()
    with pytest.raises(BlockingIOError):
        sifted.recv(1)
    assert arrived == MESSAGES[:1] and not sifted.pending()


def test_half_a_packet_does_not_keep_paho_turning() -> None:
    socket = Socket(LONG[:100])
    sifted = Sifted(socket, lambda _: None)
    for _ in range(3):
        with pytest.raises(BlockingIOError):
            sifted.recv(1)
        assert not sifted.pending()


@pytest.mark.parametrize(
    "bad",
    [
        b"\x32\x04\x00\x03a/",  # a topic longer than its packet
        b"\x32\x05\x00\x03a/b",  # no number
        b"\x36\x08\x00\x03a/b\x00\x09x",  # QoS 3
        b"\x32\xff\xff\xff\xff\xff\xff\xff\xff",  # a length without an end
        b"\x32\x00",
    ],
)
def test_what_is_malformed_is_for_paho(bad: bytes) -> None:
    arrived: list[Arrived] = []
    socket = Socket(bad)
    assert read(Sifted(socket, arrived.extend), socket) == bad
    assert arrived == []


def test_the_end_is_said() -> None:
    sifted = Sifted(Socket(FIRST[:5], end=True), lambda _: None)
    with pytest.raises(BlockingIOError):
        sifted.recv(1)
    assert sifted.recv(1) == b""
