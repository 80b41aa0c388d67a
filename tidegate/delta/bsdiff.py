"""bsdiff's comparison of two files, in bounded time and so that Ctrl-C ends it.

bsdiff looks for the longest match from every byte on as long as no place is clearly better than the one it follows.
Where the base holds a long stretch twice, with few differences, that takes the square of the stretch. Such pairs are
found by their repeats and compared in parts, which bounds the time and costs some bytes of patch; all others are
compared as a whole. Only the files decide, not the clock: a release can be reproduced on any machine.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import NamedTuple

_MOST_STEPS = 20_000_000_000  # bytes compared one by one; 5 to 10 s
_BLOCK = 512  # bytes; repeats are found in multiples of these
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
    """Whether comparing as a whole may take more than _MOST_STEPS."""
    worst = _MOST_STEPS // (max(len(new), 1) * 5)  # a match with 8 differences is 9 times as long as its exact parts
    return len(old) > worst and _longest_repeat(old, worst) > worst


def _longest_repeat(data: bytes, enough: int) -> int:
    """About how long the longest stretch is that `data` holds twice; the search ends where it is over `enough`."""
    first: dict[bytes, int] = {}
    for at in range(0, len(data) - _BLOCK + 1, _BLOCK):
        first.setdefault(data[at : at + _BLOCK], at)
    runs = [0] * _BLOCK  # blocks found in a row, by their place modulo _BLOCK
    longest = 0
    for at in range(len(data) - _BLOCK + 1):
        there = first.get(data[at : at + _BLOCK], at)
        lane = at % _BLOCK
        runs[lane] = runs[lane] + 1 if there != at else 0
        if runs[lane] > longest:
            longest = runs[lane]
            if longest * _BLOCK > enough:
                break
    return longest * _BLOCK
