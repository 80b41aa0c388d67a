"""Patches between two files: docs/patch-format.md, host side.

`make` takes bsdiff's triples (copy with differences, insert, seek), writes them as one stream of
operations and packs it. `apply` is an independent reading of the same page, strict about every bound;
`make` runs it on what it made before it hands it out.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass

import bsdiff4.core

from tidegate import deflate
from tidegate.errors import Refused, TidegateError

MAGIC = 0xD0
CODEC_DEFLATE = 0
MAX_SIZE = 1 << 30  # a host-side cap: the format itself reaches 4 GiB
CHECK_SIZE = 4
_NOT_PATCH = "Check that it is a Tidegate patch and complete"
_CHANGES = re.compile(rb"[^\0]")


@dataclass(frozen=True)
class Header:
    """What a patch says about itself; sizes in bytes, checks are the first 4 bytes of SHA-256."""

    codec: int
    old_size: int
    new_size: int
    old_check: bytes
    new_check: bytes
    body: int  # offset of the packed operations


@dataclass(frozen=True)
class Info:
    """A patch looked into: header, operations, bytes copied, changed and inserted."""

    header: Header
    size: int
    operations: int
    copied: int
    changed: int
    inserted: int


class PatchError(Refused):
    """A patch that must not be applied: damaged, or for another base."""

    def __init__(self, message: str, remedy: str = _NOT_PATCH):
        super().__init__("patch", message, remedy)


def make(old: bytes, new: bytes) -> bytes:
    """The patch that turns `old` into `new`. Deterministic; time and memory as bsdiff's (about 9 x old)."""
    for data, name in ((old, "old"), (new, "new")):
        if len(data) > MAX_SIZE:
            raise PatchError(f"the {name} file is longer than {MAX_SIZE} bytes", "Patches are for images")
    header = bytearray([MAGIC | CODEC_DEFLATE])
    header += _uvarint(len(old))
    header += _svarint(len(new) - len(old))
    header += _check(old) + _check(new)
    patch = bytes(header) + deflate.pack(_operations(old, new))
    if apply(old, patch) != new:
        raise AssertionError("the patch just made does not give the new file")
    return patch


def apply(old: bytes, patch: bytes) -> bytes:
    """The new file that `patch` makes from `old`; PatchError, and nothing half done, if it does not fit."""
    header = read_header(patch)
    if len(old) != header.old_size or _check(old) != header.old_check:
        raise PatchError(
            f"the patch is for another base: {header.old_size} bytes, SHA-256 {header.old_check.hex()}...; "
            f"this one has {len(old)} bytes, {_check(old).hex()}...",
            "Apply it to the file it was made from",
        )
    out = bytearray()
    for x, y, changes, literal, position in _read_operations(header, patch):
        copied = bytearray(old[position : position + x])
        for offset, delta in changes:
            copied[offset] = (copied[offset] + delta) & 0xFF
        out += copied
        out += literal[:y]
    if _check(bytes(out)) != header.new_check:
        raise PatchError("the patch is damaged: what it makes has another digest than it says")
    return bytes(out)


def info(patch: bytes) -> Info:
    """Header and totals of `patch`, every operation checked, without its base."""
    header = read_header(patch)
    operations = copied = changed = inserted = 0
    for x, y, changes, _literal, _position in _read_operations(header, patch):
        operations += 1
        copied += x - len(changes)
        changed += len(changes)
        inserted += y
    return Info(header, len(patch), operations, copied, changed, inserted)


def packed_size(data: bytes) -> int:
    """Bytes of `data` as a raw deflate stream a device could read: what a patch has to beat."""
    return len(deflate.pack(data))


def read_header(patch: bytes) -> Header:
    """The header of `patch`, its sizes checked against the caps."""
    if not patch or patch[0] & 0xF0 != MAGIC:
        raise PatchError("this is not a patch: it does not begin with 0xD0")
    if patch[0] & 0x0F != CODEC_DEFLATE:
        raise PatchError(f"the patch uses codec {patch[0] & 0x0F}, which is not known here", "Update Tidegate")
    reader = _Reader(patch, 1)
    old_size = reader.uvarint()
    new_size = old_size + reader.svarint()
    checks = reader.take(2 * CHECK_SIZE)
    if not 0 <= new_size <= MAX_SIZE or old_size > MAX_SIZE:
        raise PatchError(f"the patch makes {new_size} bytes from {old_size}, which is out of bounds")
    return Header(CODEC_DEFLATE, old_size, new_size, checks[:CHECK_SIZE], checks[CHECK_SIZE:], reader.position)


def _operations(old: bytes, new: bytes) -> bytes:
    control, differences, extra = bsdiff4.core.diff(old, new)
    out = bytearray()
    difference = literal = 0
    triples = _merged(control)
    for index, (x, y, z) in enumerate(triples):
        out += _uvarint(x) + _uvarint(y) + _svarint(z if index + 1 < len(triples) else 0)
        covered = 0
        for change in _CHANGES.finditer(differences, difference, difference + x):
            at = change.start() - difference
            out += _uvarint(at - covered)
            out.append(differences[difference + at])
            covered = at + 1
        if covered < x:
            out += _uvarint(x - covered)
        out += extra[literal : literal + y]
        difference += x
        literal += y
    return bytes(out)


def _merged(control: bytes) -> list[tuple[int, int, int]]:
    """bsdiff's triples; one that outputs nothing becomes part of the seek before it (all but the first)."""
    triples: list[tuple[int, int, int]] = []
    for offset in range(0, len(control), 24):
        x, y, z = (bsdiff4.core.decode_int64(control[offset + n : offset + n + 8]) for n in (0, 8, 16))
        if triples and x == y == 0:
            before = triples[-1]
            triples[-1] = (before[0], before[1], before[2] + z)
        else:
            triples.append((x, y, z))
    while triples and triples[-1][:2] == (0, 0):
        triples.pop()
    return triples


def _read_operations(header: Header, patch: bytes) -> Iterator[tuple[int, int, list[tuple[int, int]], bytes, int]]:
    """Each operation as (x, y, [(offset in x, delta)], literal bytes, position in the base)."""
    stream = _unpack(patch[header.body :], header.new_size)
    reader = _Reader(stream, 0)
    done = position = 0
    while done < header.new_size:
        x, y, z = reader.uvarint(), reader.uvarint(), reader.svarint()
        if x + y > header.new_size - done or x > header.old_size - position:
            raise PatchError("the patch is damaged: an operation goes beyond the file")
        if x + y == 0 and reader.operations:
            raise PatchError("the patch is damaged: an operation outputs nothing")
        reader.operations += 1
        changes = reader.changes(x)
        literal = reader.take(y)
        yield x, y, changes, literal, position
        done += x + y
        position += x + z
        if not 0 <= position <= header.old_size or (z and done == header.new_size):
            raise PatchError("the patch is damaged: it moves outside the base")
    if reader.position != len(stream):
        raise PatchError("the patch is over-long: operations follow the complete file")


def _unpack(packed: bytes, new_size: int) -> bytes:
    # An operation has at most 15 bytes of numbers, 6 for its first run, and one byte of output or more.
    try:
        return deflate.unpack(packed, 24 * (new_size + 1))
    except TidegateError as error:
        raise PatchError(f"the patch is damaged: {error.message}") from error


class _Reader:
    """Varints and bytes of a buffer, in order; PatchError where it ends early."""

    def __init__(self, data: bytes, position: int):
        self._data = data
        self.position = position
        self.operations = 0

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
        value = self.uvarint()
        return value >> 1 ^ -(value & 1)

    def changes(self, x: int) -> list[tuple[int, int]]:
        found = []
        covered = 0
        while covered < x:
            covered += self.uvarint()
            if covered > x:
                raise PatchError("the patch is damaged: a run goes beyond its operation")
            if covered < x:
                found.append((covered, self.take(1)[0]))
                covered += 1
        return found


def _uvarint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _svarint(value: int) -> bytes:
    return _uvarint(value << 1 if value >= 0 else ~value << 1 | 1)


def _check(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()[:CHECK_SIZE]
