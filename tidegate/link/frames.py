"""Frames on a board's serial line, the same as firmware/lib/gate/link/usb_frames.py (docs/usb-uplink.md)."""

from __future__ import annotations

import binascii
import struct
from dataclasses import dataclass
from enum import IntEnum

VERSION = 1
NONCE = 4  # bytes, of the board's boot
MOST = 240  # bytes of one DATA
_START = b"\x1e"
_HEAD = struct.Struct("<BHBB")
_CRC = struct.Struct("<I")
LONGEST = 332  # characters of base64
_LINE = 4096  # bytes of a line that nobody ends: it is shown as it is


class Kind(IntEnum):
    HELLO = 1
    WELCOME = 2
    OPEN = 3
    OPENED = 4
    DATA = 5
    ACK = 6
    CLOSE = 7


@dataclass(frozen=True)
class Frame:
    """connection: 1 to 255, as the board numbers them; 0 for HELLO and WELCOME. number: of a DATA, or a version."""

    kind: Kind
    session: int
    connection: int = 0
    number: int = 0
    payload: bytes = b""

    def pack(self) -> bytes:
        """The frame's line."""
        body = _HEAD.pack(self.kind, self.session, self.connection, self.number) + self.payload
        return _START + binascii.b2a_base64(body + _CRC.pack(binascii.crc32(body)))


def unpack(text: bytes) -> Frame | None:
    """The frame whose line holds `text` between its start and its end, or None."""
    if len(text) > LONGEST:
        return None
    try:
        body = binascii.a2b_base64(text, strict_mode=True)
    except ValueError:
        return None
    if binascii.b2a_base64(body, newline=False) != text:  # bits that its last character has too many
        return None
    end = len(body) - _CRC.size
    if not _HEAD.size <= end <= _HEAD.size + MOST or binascii.crc32(body[:end]) != _CRC.unpack_from(body, end)[0]:
        return None
    kind, session, connection, number = _HEAD.unpack_from(body)
    if kind not in list(Kind):
        return None
    return Frame(Kind(kind), session, connection, number, body[_HEAD.size : end])


class Splitter:
    """Tells frames from what the board prints. Bounded: a line without an end is text after 4 KiB."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[Frame | str]:
        """The frames and whole lines of text that `data` completes, in order."""
        found: list[Frame | str] = []
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            text, start, frame = line.rstrip(b"\r").rpartition(_START)
            known = unpack(frame) if start else None
            if known is None:
                text = line.rstrip(b"\r").replace(_START, b"")
            if text or known is None:
                found.append(text.decode(errors="replace"))
            if known is not None:
                found.append(known)
        if len(self._rest) > _LINE:
            found.append(self._rest.decode(errors="replace"))
            self._rest = b""
        return found
