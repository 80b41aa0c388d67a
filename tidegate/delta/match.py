"""What two files have in common: bsdiff's triples, and as codec 1's steps with copies inside the new bytes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from tidegate.delta import bsdiff
from tidegate.delta.adaptive import CHANGE, LITERAL, NEW_COPY, OLD_COPY, SEEK, Step
from tidegate.delta.copies import Copy, Finder

_CHANGES = re.compile(rb"[^\0]")


class Triples(NamedTuple):
    """bsdiff's (x, y, z): x bytes of the base plus differences, y extra bytes, then z bytes further in the base."""

    control: list[tuple[int, int, int]]
    differences: bytes
    extra: bytes


def triples(old: bytes, new: bytes) -> Triples:
    """What bsdiff finds; one that outputs nothing is part of the seek before it."""
    pieces, differences, extra = bsdiff.compare(old, new)
    merged: list[tuple[int, int, int]] = []
    position = 0
    for at, x, y in pieces:
        if x == y == 0:
            continue
        if merged:
            merged[-1] = (*merged[-1][:2], at - position)
        elif at:
            merged.append((0, 0, at))
        merged.append((x, y, 0))
        position = at + x
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
