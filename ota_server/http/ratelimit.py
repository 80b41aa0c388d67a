"""A bound on what addresses that need no token may ask of us: a bucket of requests an address, refilled at a rate.

It protects this process, and nothing counts on it: what must be exact is in the database.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict

_MOST = 1024  # addresses remembered; the one longest silent goes


class RateLimit:
    """burst: requests at once; rate: requests a second after that."""

    def __init__(self, burst: float, rate: float) -> None:
        self._burst = burst
        self._rate = rate
        self._lock = threading.Lock()
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # address -> (left, when)

    def take(self, address: str) -> bool:
        """Whether this address may ask once more now."""
        now = time.monotonic()
        with self._lock:
            left, when = self._buckets.pop(address, (self._burst, now))
            left = min(self._burst, left + (now - when) * self._rate)
            allowed = left >= 1
            self._buckets[address] = (left - 1 if allowed else left, now)
            while len(self._buckets) > _MOST:
                self._buckets.popitem(last=False)
        return allowed
