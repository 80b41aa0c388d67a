"""What two files have in common: bsdiff's triples, and as codec 1's steps with copies inside the new bytes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from tidegate.delta.adaptive import CHANGE, LITERAL, NEW_COPY, OLD_COPY, SEEK, Step
from tidegate.delta.copies import Copy, Finder

_CHANGES = re.compile(rb"[^\0]")


class Triples(NamedTuple):
    """bsdiff's (x, y, z): x bytes of the base plus differences, y extra bytes, then z bytes further in the base."""

    control: list[tuple[int, int, int]]
    differences: bytes
    extra: bytes


def triples(old: bytes, new: bytes) -> Triples:
    """One that outputs nothing becomes part of the seek before it (all but the first)."""
    import bsdiff4.core  # imported here: signing and verifying must work without this compiled package

    control, differences, extra = bsdiff4.core.diff(old, new)
    merged: list[tuple[int, int, int]] = []
    for offset in range(0, len(control), 24):
        x, y, z = (bsdiff4.core.decode_int64(control[offset + n : offset + n + 8]) for n in (0, 8, 16))
        if merged and x == y == 0:
            before = merged[-1]
            merged[-1] = (before[0], before[1], before[2] + z)
        else:
            merged.append((x, y, z))
    while merged and merged[-1][:2] == (0, 0):
        merged.pop()
    return Triples(merged, differences, extra)


def steps(old: bytes, new: bytes, found: Triples) -> Iterator[Step]:
    """Codec 1's steps from `old` to `new`."""
    finder = Finder(old, new, found.extra)
    run = difference = done = position = 0
    for x, y, z in found.control:
        covered = 0
        for change in _CHANGES.finditer(found.differences, difference, difference + x):
            at = change.start() - difference
            run += at - covered
            yield Step(run, CHANGE, change.group()[0], 1)
            run = 0
            covered = at + 1
        run += x - covered
        difference += x
        done += x
        position += x
        for piece in finder.pieces(done, done + y, position):
            if isinstance(piece, Copy):
                yield Step(run, OLD_COPY if piece.from_old else NEW_COPY, piece.offset, piece.length)
            else:
                yield Step(run, LITERAL, 0, len(piece), piece)
            run = 0
        done += y
        if z and done < len(new):
            position += z
            yield Step(run, SEEK, z)
            run = 0
    if run:
        yield Step(run, None)
