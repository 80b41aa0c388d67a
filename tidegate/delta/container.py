"""The header of a patch, the same for every codec: docs/patch-format.md, "Header"."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from tidegate.errors import Refused

MAGIC = 0xD0
MAX_SIZE = 1 << 28  # of either file, on the host; a device has its own limit
CHECK_SIZE = 4
DEFLATE = 0
ADAPTIVE = 1
CODECS = {DEFLATE: "deflate", ADAPTIVE: "adaptive"}


class PatchError(Refused):
    """A patch that must not be applied: damaged, or for another base."""

    def __init__(self, message: str, remedy: str = "Check that it is a Tidegate patch and complete"):
        super().__init__("patch", message, remedy)


@dataclass(frozen=True)
class Header:
    """The facts in the header of a patch; sizes in bytes, checks are the first 4 bytes of SHA-256."""

    codec: int
    old_size: int
    new_size: int
    old_check: bytes
    new_check: bytes
    body: int  # offset of the packed operations


def read_header(patch: bytes) -> Header:
    """The header of `patch`, its sizes checked against the caps."""
    if not patch or patch[0] & 0xF0 != MAGIC:
        raise PatchError("this is not a patch: it does not begin with 0xD0")
    codec = patch[0] & 0x0F
    if codec not in CODECS:
        raise PatchError(f"the patch uses codec {codec}, which is not known here", "Update Tidegate")
    reader = Reader(patch, 1)
    old_size = reader.uvarint()
    new_size = old_size + reader.svarint()
    checks = reader.take(2 * CHECK_SIZE)
    if not 0 <= new_size <= MAX_SIZE or old_size > MAX_SIZE:
        raise PatchError(f"the patch makes {new_size} bytes from {old_size}, which is out of bounds")
    return Header(codec, old_size, new_size, checks[:CHECK_SIZE], checks[CHECK_SIZE:], reader.position)


def write_header(codec: int, old: bytes, new: bytes) -> bytes:
    """The header of a patch from `old` to `new`."""
    growth = len(new) - len(old)
    return bytes([MAGIC | codec]) + uvarint(len(old)) + svarint(growth) + check(old) + check(new)


class Reader:
    """Varints and bytes of a buffer, in order; PatchError where it ends early."""

    def __init__(self, data: bytes, position: int):
        self._data = data
        self.position = position

    def take(self, count: int) -> bytes:
        piece = self._data[self.position : self.position + count]
        if len(piece) != count:
            raise PatchError("the patch is cut off")
        self.position += count
        return piece

    def uvarint(self) -> int:
        value = 0
        for shift in range(0, 35, 7):
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                if value >> 32 or (shift and not byte):
                    break
                return value
        raise PatchError("the patch is damaged: a number is too large or padded")

    def svarint(self) -> int:
        return unfold(self.uvarint())


def uvarint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def svarint(value: int) -> bytes:
    return uvarint(fold(value))


def fold(value: int) -> int:
    """Signed to unsigned by zigzag: 0, -1, 1, -2 ... are 0, 1, 2, 3 ..."""
    return value << 1 if value >= 0 else ~value << 1 | 1


def unfold(value: int) -> int:
    return value >> 1 ^ -(value & 1)


def check(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()[:CHECK_SIZE]
