"""Which packs of a device never came: those whose numbers the device has used, and nobody has filed.

A device counts its packs over all of its streams and sends the oldest first. Each stream's row has the number of its
own last pack, and the device's newest one below a number is where the count stood. A boot begins anywhere, so what is
far away is another count and no gap: one boot of a hundred thousand is taken for one.
"""

from __future__ import annotations

from collections.abc import Iterable

MOST = 10_000  # packs missing in a row; what is further away is the count of another boot


def before(number: int, lasts: Iterable[int]) -> int:
    """How many packs before this number are missing. lasts: the numbers of the last packs of the device's streams."""
    nearest = max((last for last in lasts if last < number), default=None)
    missing = 0 if nearest is None else number - nearest - 1
    return missing if missing <= MOST else 0


def is_late(number: int, last: int | None) -> bool:
    """Whether a stream's pack comes after one of its packs that was made later."""
    return last is not None and 0 < last - number <= MOST
