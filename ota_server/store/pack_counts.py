"""Which packs of a stream are filed, by their numbers, so that one that comes again is known.

A broker that was restarted sends again whatever it has not noted as acknowledged: up to its window, and all since it
last saved if it was killed. Most packs have no time of their own, so what is stored does not tell them apart; their
numbers do. Each boot of a device counts from anywhere (`gaps`), so there are two counts: this boot's and the one
before, of which packs may still come again. Each is a window as that of RFC 4303 section 3.4.3.
"""

from __future__ import annotations

import struct

WINDOW = 2048  # numbers that a count remembers, its newest one included
COUNTS = 2
_HEAD = struct.Struct(">QH")  # the newest number, and the bytes of the bits
_ALL = (1 << WINDOW) - 1


class PackCounts:
    """The counts of one stream, the one that went on last first."""

    __slots__ = ("_counts",)

    def __init__(self, stored: bytes = b"") -> None:
        """stored: as `encode` returns it. Bit n of a count is set where the number n below its newest one is filed."""
        self._counts: list[tuple[int, int]] = []
        at = 0
        while at < len(stored):
            newest, size = _HEAD.unpack_from(stored, at)
            at += _HEAD.size
            self._counts.append((newest, int.from_bytes(stored[at : at + size], "big")))
            at += size

    def encode(self) -> bytes:
        parts = []
        for newest, bits in self._counts:
            size = (bits.bit_length() + 7) // 8
            parts.append(_HEAD.pack(newest, size) + bits.to_bytes(size, "big"))
        return b"".join(parts)

    def __contains__(self, number: int) -> bool:
        """Whether a pack of this number was filed, of the last WINDOW of either count."""
        return any(newest >= number and bits >> (newest - number) & 1 for newest, bits in self._counts)

    def add(self, number: int) -> None:
        for place, (newest, bits) in enumerate(self._counts):
            ahead = number - newest
            if -WINDOW < ahead <= 0:
                self._counts[place] = newest, bits | 1 << -ahead
                return
            if 0 < ahead < WINDOW:
                self._counts.pop(place)
                self._counts.insert(0, (number, (bits << ahead | 1) & _ALL))
                return
        self._counts = [(number, 1), *self._counts][:COUNTS]
