"""bsdiff's comparison of two files, in bounded time and so that Ctrl-C ends it.

bsdiff looks for the longest match from every byte on as long as no place is clearly better than the one it follows.
Where the base holds a long stretch twice, with few differences, that takes the square of the stretch. Such pairs are
found by their repeats and compared in parts, which bounds the time and costs some bytes of patch; all others are
compared as a whole. Only the files decide, not the clock: a release can be reproduced on any machine.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from typing import NamedTuple

_MOST_STEPS = 16_000_000_000  # bytes compared one by one; 5 to 10 s
_STEPS_A_BYTE = 16_000  # of the new file, where that allows more: what is longer may take longer
_BLOCK = 64  # bytes; repeats are found by what such blocks hold
_BREAK = 512  # bytes; eight differences can spoil all blocks of so many
_ANCHOR = re.compile(rb"[\x133Ss\x93\xb3\xd3\xf3]")  # in tables, text and machine code alike
_PART = 1 << 15  # bytes of the new file compared at a time
_AROUND = 1 << 20  # bytes of the base that a part is compared with


class Piece(NamedTuple):
    """`x` bytes of the base from `position` with differences added, then `y` extra bytes."""

    position: int
    x: int
    y: int


def compare(old: bytes, new: bytes) -> tuple[list[Piece], bytes, bytes]:
    """(pieces that make up `new`, the differences of all, the extra bytes of all)."""
    if not _is_slow(old, new):
        return _diff(old, new, 0)
    pieces: list[Piece] = []
    differences, extra = bytearray(), bytearray()
    for start in range(0, len(new), _PART):
        middle = start * len(old) // len(new)
        low = max(0, min(middle - _AROUND // 2, len(old) - _AROUND))
        made = _diff(old[low : low + _AROUND], new[start : start + _PART], low)
        differences += made[1]
        extra += made[2]
        for piece in made[0]:
            _append(pieces, piece)
    return pieces, bytes(differences), bytes(extra)


def _append(pieces: list[Piece], piece: Piece) -> None:
    """Add a piece, as part of the last one where it continues that."""
    if piece.x == piece.y == 0:
        return
    last = pieces[-1] if pieces else None
    if last is not None and piece.x == 0:
        pieces[-1] = last._replace(y=last.y + piece.y)
    elif last is not None and last.y == 0 and last.position + last.x == piece.position:
        pieces[-1] = Piece(last.position, last.x + piece.x, piece.y)
    else:
        pieces.append(piece)


def _diff(old: bytes, new: bytes, low: int) -> tuple[list[Piece], bytes, bytes]:
    """bsdiff's answer, positions counted from `low` on."""
    control, differences, extra = _apart(old, new)
    pieces, position = [], low
    for x, y, z in _triples(control):
        pieces.append(Piece(position, x, y))
        position += x + z
    return pieces, differences, extra


def _triples(control: bytes) -> Iterator[tuple[int, int, int]]:
    from bsdiff4.core import decode_int64

    for offset in range(0, len(control), 24):
        x, y, z = (decode_int64(control[offset + n : offset + n + 8]) for n in (0, 8, 16))
        yield x, y, z


def _apart(old: bytes, new: bytes) -> tuple[bytes, bytes, bytes]:
    """Run bsdiff in a thread of its own: it does not hold Python's lock, so Ctrl-C ends the waiting at once."""
    import bsdiff4.core  # imported here: signing and verifying must work without this compiled package

    made: list[tuple[bytes, bytes, bytes]] = []
    failed: list[BaseException] = []

    def work() -> None:
        try:
            made.append(bsdiff4.core.diff(old, new))
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=work, daemon=True)  # a daemon: the process may end without it
    thread.start()
    while thread.is_alive():
        thread.join(1.0)
    if failed:
        raise failed[0]
    return made[0]


def _is_slow(old: bytes, new: bytes) -> bool:
    """Whether comparing as a whole may take more steps than are allowed.

    They are half the square of each stretch of `new` that `old` may hold twice. Eight differences do not end a match,
    so short breaks do not end a stretch; and where nothing is found to know a place by, the worst is assumed.
    """
    if len(old) * len(new) * 5 <= _MOST_STEPS:
        return False
    squares = 0
    begun = end = 0
    for start, stop in _suspects(new, _repeated(old)):
        if start - end > _BREAK:
            squares += (end - begun) ** 2
            begun = start
        end = stop
    return (squares + (end - begun) ** 2) // 2 > max(_MOST_STEPS, _STEPS_A_BYTE * len(new))


def _suspects(data: bytes, twice: set[bytes]) -> Iterator[tuple[int, int]]:
    """(start, end) of the blocks of `data` that are in `twice`, and of what lies between anchors far apart."""
    before = 0
    for at in _anchors(data):
        if at - before > _BREAK:
            yield before, at
        if data[at : at + _BLOCK] in twice:
            yield at, at + _BLOCK
        before = at
    if len(data) - before > _BREAK:
        yield before, len(data)


def _repeated(data: bytes) -> set[bytes]:
    """The blocks at the anchors of `data` that it holds twice or more."""
    once: set[bytes] = set()
    twice: set[bytes] = set()
    for at in _anchors(data):
        block = data[at : at + _BLOCK]
        (twice if block in once else once).add(block)
    return twice


def _anchors(data: bytes) -> Iterator[int]:
    """Places that depend on what stands there, not on where that is; about every 64th byte of most data is one."""
    return (found.start() for found in _ANCHOR.finditer(data))
