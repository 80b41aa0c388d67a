"""What a message says, and the rows that it changes, which `telemetry_filing` reads for a batch and writes after it."""

from __future__ import annotations

import hashlib
from typing import NamedTuple

from ota_server.store.pack_counts import PackCounts

# Packs of a stream that are known by a mark when they come again; ota_server/mqtt/filing.py relies on it. What is older
# is known by `repeated_packs`.
REMEMBERED = 64
_MARK = 8  # bytes of a pack's mark


class Value(NamedTuple):
    """One resolved SenML record: `at` in ms since 1970, and a number or a text."""

    name: str
    unit: str | None
    at: int
    number: float | None
    text: str | None


class Pack(NamedTuple):
    """The values of one message.

    `mark` identifies it, or is None if equal packs cannot be told apart; `dropped` is the device's running count of
    packs it lost, None if it does not say; `number` counts the device's packs, None if it does not.
    """

    values: list[Value]
    mark: bytes | None
    dropped: int | None
    number: int | None = None


class StreamRow:
    """A row of the table `stream`, as it is to be written."""

    __slots__ = (
        "changed",
        "counts",
        "drop_mark",
        "dropped",
        "is_new",
        "missing",
        "number",
        "packs",
        "repeated",
        "seen",
    )

    def __init__(
        self,
        packs: int = 0,
        repeated: int = 0,
        dropped: int = 0,
        drop_mark: int = 0,
        seen: bytes = b"",
        number: int | None = None,
        missing: int = 0,
        counts: bytes | None = None,
    ) -> None:
        self.packs, self.repeated, self.dropped, self.drop_mark, self.seen = packs, repeated, dropped, drop_mark, seen
        self.number, self.missing = number, missing
        self.counts = PackCounts(counts or b"")
        self.is_new = self.changed = False

    def knows(self, mark: bytes) -> bool:
        """Whether one of the last packs had this mark, as `short` makes it."""
        at = self.seen.find(mark)
        while at > 0 and at % _MARK:
            at = self.seen.find(mark, at + 1)
        return at >= 0

    def remember(self, mark: bytes | None, number: int | None) -> None:
        """Note that a pack is filed."""
        if mark is not None:
            self.seen = (self.seen + mark)[-REMEMBERED * _MARK :]
        if number is not None:
            self.counts.add(number)

    def count_lost(self, dropped: int | None) -> int:
        """Packs lost since the count that the device said last; it may begin at 0 again after a reset."""
        if dropped is None or dropped == self.drop_mark:
            return 0
        lost = dropped - self.drop_mark if dropped > self.drop_mark else dropped
        self.drop_mark = dropped
        self.dropped += lost
        return lost


class SeriesRow:
    """A row of the table `series`; `id` is None until it is inserted. `points`: how many are added."""

    __slots__ = ("at", "id", "last_values", "number", "points", "text", "unit")

    def __init__(self, row: int | None, unit: str | None, at: int, number: float | None, text: str | None):
        self.id, self.unit, self.at, self.number, self.text, self.points = row, unit, at, number, text, 0
        self.last_values: set[tuple[float | None, str | None]] | None = None  # of points stored before this batch


def short(mark: bytes) -> bytes:
    """A pack's mark as a stream's row has it."""
    return hashlib.sha256(mark).digest()[:_MARK]
