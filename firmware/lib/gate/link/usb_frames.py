"""Frames on the board's serial line, between the lines that people read (docs/usb-uplink.md).

A frame is a line of its own: 0x1e, base64, newline. It holds no Ctrl-C, so a cable can still stop
the program, and a terminal shows it as one line of letters. What base64 carries ends in a CRC-32:
a frame that lost or gained a byte is no frame.
"""

import struct
import sys
from binascii import a2b_base64, b2a_base64, crc32

from aiotcp import const, readable, sleep_ms

HELLO = const(1)  # board: here I am, of this boot, with these connections
WELCOME = const(2)  # host: so you are linked, and I have these
OPEN = const(3)  # board: connect me with this host and port
OPENED = const(4)
DATA = const(5)
ACK = const(6)  # the DATA of this number was taken by whoever reads
CLOSE = const(7)  # with the reason, if there is one
MOST = const(240)  # bytes of one DATA

_START = const(0x1E)
_HEAD = "<BHBB"  # kind, session, connection, number
_HEAD_SIZE = const(5)
_CRC_SIZE = const(4)
_LONGEST = const(332)  # characters of base64
_TURN = const(400)  # bytes read before others have their turn


def pack(kind, session, connection=0, number=0, payload=b""):
    """The bytes of a frame on the line."""
    body = struct.pack(_HEAD, kind, session, connection, number) + payload
    return b"\x1e" + b2a_base64(body + struct.pack("<I", crc32(body)))


def unpack(text):
    """(kind, session, connection, number, payload) of what stood between start and end of a
    frame, or None if it is none.
    """
    try:
        body = a2b_base64(text)
    except ValueError:
        return None
    end = len(body) - _CRC_SIZE
    if end < _HEAD_SIZE or end > _HEAD_SIZE + MOST:
        return None
    if crc32(body[:end]) != struct.unpack_from("<I", body, end)[0]:
        return None
    return struct.unpack_from(_HEAD, body) + (body[_HEAD_SIZE:end],)


class Lines:
    """Finds frames among the bytes that come. Anything else is not for us."""

    def __init__(self):
        self._buf = bytearray(_LONGEST)
        self._size = -1  # of the frame so far; -1: not in one

    def feed(self, byte):
        """The frame that this byte ends, as unpack() gives it, or None."""
        size = self._size
        if byte == _START:
            self._size = 0
        elif size < 0:
            pass
        elif byte == 10 or byte == 13:
            self._size = -1
            return unpack(memoryview(self._buf)[:size])
        elif size == _LONGEST:
            self._size = -1
        else:
            self._buf[size] = byte
            self._size = size + 1
        return None


class Console:
    """The line that MicroPython's REPL and print() use."""

    def __init__(self):
        import select

        self._in = sys.stdin.buffer
        self._poll = select.poll()
        self._poll.register(sys.stdin, select.POLLIN)
        self._one = bytearray(1)
        self._lines = Lines()

    def send(self, frame):
        sys.stdout.write(frame)

    async def receive(self):
        """The next frame that comes, as unpack() gives it."""
        one = self._one
        left = _TURN
        while True:
            # MicroPython reads from a console until the buffer is full: a lost byte would stop it.
            for _ in self._poll.ipoll(0):
                if not self._in.readinto(one):  # the end of a file
                    await sleep_ms(1000)
                frame = self._lines.feed(one[0])
                left -= 1
                if frame:
                    return frame
                break
            else:
                await readable(sys.stdin)
            if not left:
                left = _TURN
                await sleep_ms(0)
