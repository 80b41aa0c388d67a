"""Copies inside the bytes that bsdiff calls new: the cheapest way to write a stretch of them.

Three bytes or more that also stand somewhere in the base, or shortly before in the new file, can be copied. A
dynamic program over the stretch weighs copies against literals with the typical costs of codec 1, in 1/8 bits.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from typing import NamedTuple

from tidegate.delta.adaptive import MIN_COPY, WINDOW

_CANDIDATES = 24  # places looked at on each side of the position in the base
_LITERAL = 54
_LITERALS = 30  # to begin a row of them
_COPY = 30
_CLASS = 7  # each doubling of an offset
_LENGTH = 14  # each doubling of a length
_LONG = 40  # a match of more bytes is taken whole, and no better one is looked for
_LONGEST = 1024
_MAX_STRETCH = 4096  # longer stretches are planned in parts
_MAX_SEARCHED = 1 << 20  # new bytes; planning takes some 30 microseconds each, so of more none are copied


class Copy(NamedTuple):
    """`length` bytes from `offset` on from the position in the base, or from `offset` back in the new file."""

    from_old: bool
    offset: int
    length: int


class Finder:
    """Finds copies for the new bytes of one pair of files."""

    def __init__(self, old: bytes, new: bytes, extra: bytes):
        self._old = old
        self._new = new
        if len(extra) > _MAX_SEARCHED:
            extra = b""
        keys = {extra[at : at + MIN_COPY] for at in range(len(extra) - MIN_COPY + 1)}
        self._in_old = _places(old, keys)
        self._keys = keys
        self._in_new: dict[bytes, list[int]] = {}  # as far as a copy can reach
        self._known = 0

    def pieces(self, start: int, end: int, position: int) -> Iterator[Copy | bytes]:
        """What to write for new[start:end]: copies and literal bytes; `position` is that in the base."""
        self._learn(max(self._known, start - WINDOW), end)
        while start < end:
            part = min(end, start + _MAX_STRETCH)
            yield from self._plan(start, part, position)
            start = part

    def _learn(self, start: int, end: int) -> None:
        """Note where keys begin in new[start:end]; stretches come in order."""
        for key, places in _places(self._new, self._keys, start, end).items():
            self._in_new.setdefault(key, []).extend(places)
        self._known = end

    def _plan(self, start: int, end: int, position: int) -> Iterator[Copy | bytes]:
        # Cheapest cost from each byte to the end, when the byte before is a literal and when it is not.
        after_literal = [0] * (end - start + 1)
        otherwise = [0] * (end - start + 1)
        choices: list[tuple[Copy | None, Copy | None]] = []
        for at in range(end - 1, start - 1, -1):
            best, choice = self._best_copy(at, end, position, otherwise, start)
            literal = _LITERAL + after_literal[at - start + 1]
            into, on = literal + _LITERALS, literal
            choices.append((None if into <= best else choice, None if on <= best else choice))
            otherwise[at - start] = min(into, best)
            after_literal[at - start] = min(on, best)
        choices.reverse()
        at = begun = start
        while at < end:
            copy = choices[at - start][at > begun]
            if copy is None:
                at += 1
                continue
            if begun < at:
                yield self._new[begun:at]
            yield copy
            at = begun = at + copy.length
        if begun < at:
            yield self._new[begun:at]

    def _best_copy(self, at: int, end: int, position: int, costs: list[int], start: int) -> tuple[int, Copy | None]:
        best, choice = 1 << 60, None
        for offset_cost, copy in self._candidates(at, end, position):
            shortest = copy.length if copy.length > _LONG else MIN_COPY
            for length in range(shortest, copy.length + 1):
                size = _LENGTH * (length - MIN_COPY + 1).bit_length()
                cost = _COPY + offset_cost + size + costs[at + length - start]
                if cost < best:
                    best, choice = cost, copy._replace(length=length)
        return best, choice

    def _candidates(self, at: int, end: int, position: int) -> Iterator[tuple[int, Copy]]:
        """The longest copies at `at`, with what their offsets cost; of one length only the cheapest."""
        key = self._new[at : at + MIN_COPY]
        if at + MIN_COPY > end:
            return
        found: dict[int, tuple[int, Copy]] = {}
        for start in _near(self._in_old.get(key, []), position):
            length = _same(self._old, start, self._new, at, end)
            cost = _CLASS * (2 * abs(start - position) + 1).bit_length()
            if length not in found or cost < found[length][0]:
                found[length] = cost, Copy(True, start - position, length)
            if length > _LONG:
                break
        places = self._in_new.get(key, [])
        for start in reversed(places[bisect_left(places, at - WINDOW) : bisect_left(places, at)]):
            length = _same(self._new, start, self._new, at, end)
            cost = _CLASS * (at - start).bit_length()
            if length not in found or cost < found[length][0]:
                found[length] = cost, Copy(False, at - start, length)
            if length > _LONG:
                break
        yield from found.values()


def _places(data: bytes, keys: set[bytes], start: int = 0, end: int | None = None) -> dict[bytes, list[int]]:
    """Where the keys stand that begin in data[start:end], in order."""
    places: dict[bytes, list[int]] = {}
    last = len(data) - MIN_COPY + 1
    if keys:
        for at in range(start, last if end is None else min(end, last)):
            key = data[at : at + MIN_COPY]
            if key in keys:
                places.setdefault(key, []).append(at)
    return places


def _near(places: list[int], position: int) -> list[int]:
    """Those around `position`, nearest first."""
    middle = bisect_right(places, position)
    return sorted(places[max(0, middle - _CANDIDATES) : middle + _CANDIDATES], key=lambda start: abs(start - position))


def _same(source: bytes, start: int, new: bytes, at: int, end: int) -> int:
    """How many bytes from `start` are those of new[at:end]; the first MIN_COPY are known to be."""
    most = min(end - at, len(source) - start, _LONGEST)
    length = MIN_COPY
    while source[start + length : start + length + 32] == new[at + length : at + length + 32] and length + 32 <= most:
        length += 32
    while length < most and source[start + length] == new[at + length]:
        length += 1
    return length
