"""Codec 1: steps behind a range coder whose probabilities adapt (docs/patch-format.md, "Codec 1").

A patch is a list of steps that each continue the new file. `encode` writes them, `decode` reads them back and
checks every bound before it is used.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from tidegate.delta.container import Header, PatchError, fold, unfold
from tidegate.delta.rangecoder import DAMAGED, Decoder, Encoder
from tidegate.delta.start import START_STATES

WINDOW = 512  # bytes back in the new file that a copy may reach
MIN_COPY = 3
MAX_CLASS = 29  # numbers are below 2^30

# What a step does, in the order of the decisions that say so. A run of unchanged bytes comes before each.
CHANGE, LITERAL, OLD_COPY, NEW_COPY, SEEK = range(5)

# Where the states of each kind of number begin, and those of the steps and the two byte trees.
_NUMBER = 31
_RUN = 0  # one for each kind of step before
_COUNT, _OLD_OFFSET, _DISTANCE, _LENGTH, _SEEK = (_NUMBER * n for n in range(5, 10))
_KIND = _NUMBER * 10  # 4 for each kind of step before
_CHANGE_TREE = _KIND + 4 * 5 - 1  # a tree's nodes count from 1
_LITERAL_TREE = _CHANGE_TREE + 255
STATES = _LITERAL_TREE + 256

_CHANGES = re.compile(rb"[^\0]")
_SAMPLES = 64  # pieces of the differences from which the size is told
_SAMPLED = 8  # one byte of so many is in one of them


class Step(NamedTuple):
    """`run` unchanged bytes, then what `kind` says (None: nothing, the file is complete).

    CHANGE: `value` is added to the next byte of the base. LITERAL: `data` is new. OLD_COPY: `length` bytes from
    `value` bytes on from the position in the base, which stays. NEW_COPY: `length` bytes from `value` bytes back in
    the new file. SEEK: the position in the base moves by `value`.
    """

    run: int
    kind: int | None
    value: int = 0
    length: int = 0
    data: bytes = b""


def start_states() -> list[int]:
    """The states a stream begins with, from one byte each: 5 bits of probability, 3 of confidence."""
    return [((byte >> 3) * 128 + 64) << 4 | byte & 7 for byte in START_STATES]


def encode(steps: Iterable[Step]) -> bytes:
    """The body of a patch of `steps`."""
    coder = Encoder(start_states())
    write(coder, steps)
    return coder.finish()


def about(differences: bytes, extra: bytes) -> int:
    """About how many bytes `encode` takes for these, from a sample of the differences: a tenth too many, often less."""
    coder = Encoder(start_states())
    every = len(differences) // _SAMPLES
    taken = max(every // _SAMPLED, 1)
    for start in range(0, len(differences), max(every, 1)):
        piece = differences[start : start + taken]
        at = 0
        for change in _CHANGES.finditer(piece):
            write(coder, (Step(change.start() - at, CHANGE, change.group()[0], 1),), CHANGE)
            at = change.end()
    return len(coder.finish()) * _SAMPLED + len(extra)


def write(coder: Encoder, steps: Iterable[Step], before: int = SEEK) -> None:
    """Code `steps`, which follow one of kind `before`."""
    for step in steps:
        _put_number(coder, _RUN + _NUMBER * before, step.run)
        if step.kind is None:
            break
        for at in range(step.kind):
            coder.bit(_KIND + 4 * before + at, 1)
        if step.kind < SEEK:
            coder.bit(_KIND + 4 * before + step.kind, 0)
        if step.kind == CHANGE:
            _put_byte(coder, _CHANGE_TREE, step.value)
        elif step.kind == LITERAL:
            _put_number(coder, _COUNT, len(step.data) - 1)
            for byte in step.data:
                _put_byte(coder, _LITERAL_TREE, byte)
        elif step.kind == OLD_COPY:
            _put_number(coder, _OLD_OFFSET, fold(step.value))
            _put_number(coder, _LENGTH, step.length - MIN_COPY)
        elif step.kind == NEW_COPY:
            _put_number(coder, _DISTANCE, step.value - 1)
            _put_number(coder, _LENGTH, step.length - MIN_COPY)
        else:
            _put_number(coder, _SEEK, fold(step.value))
        before = step.kind


def decode(header: Header, patch: bytes) -> Iterator[Step]:
    """The steps of a patch, each checked against the sizes in `header`; PatchError for one that does not fit."""
    coder = Decoder(start_states(), patch, header.body)
    left, position = header.new_size, 0
    before: int = SEEK
    first = True
    while left:
        run = _number(coder, _RUN + _NUMBER * before)
        _need(run <= left and run <= header.old_size - position, "a run goes beyond a file")
        left -= run
        position += run
        if not left:
            yield Step(run, None)
            break
        kind = 0
        while kind < SEEK and coder.bit(_KIND + 4 * before + kind):
            kind += 1
        if kind == CHANGE:
            _need(position < header.old_size, "a change is outside the base")
            step = Step(run, kind, _byte(coder, _CHANGE_TREE), 1)
            _need(step.value > 0, "a change changes nothing")
            position += 1
        elif kind == LITERAL:
            count = _number(coder, _COUNT) + 1
            _need(count <= left, "new bytes go beyond the file")
            step = Step(run, kind, 0, count, bytes(_byte(coder, _LITERAL_TREE) for _ in range(count)))
        elif kind == SEEK:
            _need(bool(run) or before != SEEK or first, "it moves twice")
            step = Step(run, kind, unfold(_number(coder, _SEEK)))
            position += step.value
            _need(0 <= position <= header.old_size, "it moves outside the base")
        else:
            value = unfold(_number(coder, _OLD_OFFSET)) if kind == OLD_COPY else _number(coder, _DISTANCE) + 1
            step = Step(run, kind, value, _number(coder, _LENGTH) + MIN_COPY)
            _need(step.length <= left, "a copy goes beyond the file")
            if kind == OLD_COPY:
                _need(0 <= position + value <= header.old_size - step.length, "a copy is outside the base")
            else:
                _need(value <= min(header.new_size - left, WINDOW), "a copy reaches back too far")
        left -= step.length
        yield step
        before = kind
        first = False
    coder.finish()


def _need(holds: bool, what: str) -> None:
    if not holds:
        raise PatchError(f"{DAMAGED}: {what}")


def _put_number(coder: Encoder, base: int, value: int) -> None:
    """The class of value + 1 (its bits after the first) in unary, its second bit, then the others as they are."""
    value += 1
    size = value.bit_length() - 1
    for at in range(size):
        coder.bit(base + min(at, 15), 1)
    coder.bit(base + min(size, 15), 0)
    if size:
        coder.bit(base + 15 + min(size, 15), value >> size - 1 & 1)
        coder.direct(value, size - 1)


def _number(coder: Decoder, base: int) -> int:
    size = 0
    while coder.bit(base + min(size, 15)):
        size += 1
        _need(size <= MAX_CLASS, "a number is too large")
    if not size:
        return 0
    value = 2 | coder.bit(base + 15 + min(size, 15))
    return (value << size - 1 | coder.direct(size - 1)) - 1


def _put_byte(coder: Encoder, tree: int, value: int) -> None:
    """Eight decisions from the highest bit on, each by the state that the bits before it lead to."""
    node = 1
    for at in range(7, -1, -1):
        bit = value >> at & 1
        coder.bit(tree + node, bit)
        node = node << 1 | bit


def _byte(coder: Decoder, tree: int) -> int:
    node = 1
    while node < 256:
        node = node << 1 | coder.bit(tree + node)
    return node & 0xFF
