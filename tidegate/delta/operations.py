"""Codec 0: bsdiff's triples as one stream of operations, deflated (docs/patch-format.md, "Codec 0")."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from tidegate.delta import deflate
from tidegate.delta.container import Header, PatchError, Reader, svarint, uvarint
from tidegate.delta.match import Triples
from tidegate.errors import TidegateError

_CHANGES = re.compile(rb"[^\0]")


class Operation(NamedTuple):
    """`x` bytes of the base from `position`, of which those in `changes` (offset, delta) differ; then `literal`."""

    position: int
    x: int
    changes: list[tuple[int, int]]
    literal: bytes


def encode(triples: Triples) -> bytes:
    """The body of a patch of `triples`."""
    out = bytearray()
    difference = literal = 0
    last = len(triples.control) - 1
    for index, (x, y, z) in enumerate(triples.control):
        out += uvarint(x) + uvarint(y) + svarint(z if index < last else 0)
        covered = 0
        for change in _CHANGES.finditer(triples.differences, difference, difference + x):
            at = change.start() - difference
            out += uvarint(at - covered)
            out.append(triples.differences[difference + at])
            covered = at + 1
        if covered < x:
            out += uvarint(x - covered)
        out += triples.extra[literal : literal + y]
        difference += x
        literal += y
    return deflate.pack(bytes(out))


def decode(header: Header, patch: bytes) -> Iterator[Operation]:
    """The operations of a patch, each checked against the sizes in `header`; PatchError for one that does not fit."""
    stream = _unpack(patch[header.body :], header.new_size)
    reader = Reader(stream, 0)
    done = position = 0
    first = True
    while done < header.new_size:
        x, y, z = reader.uvarint(), reader.uvarint(), reader.svarint()
        if x + y > header.new_size - done or x > header.old_size - position:
            raise PatchError("the patch is damaged: an operation goes beyond the file")
        if x + y == 0 and not first:
            raise PatchError("the patch is damaged: an operation outputs nothing")
        first = False
        yield Operation(position, x, _changes(reader, x), reader.take(y))
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


def _changes(reader: Reader, x: int) -> list[tuple[int, int]]:
    found = []
    covered = 0
    while covered < x:
        covered += reader.uvarint()
        if covered > x:
            raise PatchError("the patch is damaged: a run goes beyond its operation")
        if covered < x:
            found.append((covered, reader.take(1)[0]))
            covered += 1
    return found
