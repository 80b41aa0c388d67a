"""Token buckets: a bound on how often somebody may do something.

They protect this process, and nothing counts on them: what must be exact is in the database.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable


class TokenBucket:
    """rate: tokens per second; burst: tokens at most, and at first."""

    def __init__(self, rate: float, burst: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._burst = self._left = float(burst)
        self._clock = clock
        self._at = clock()

    def take(self) -> bool:
        """Take a token; returns False, and takes nothing, if there is none."""
        self._refill()
        if self._left < 1:
            return False
        self._left -= 1
        return True

    def has(self) -> bool:
        """Whether there is a token; takes none."""
        self._refill()
        return self._left >= 1

    def borrow(self, cost: float = 1) -> float:
        """Take tokens, on credit if there are too few; returns the seconds to wait until they are paid back."""
        self._refill()
        self._left -= cost
        return max(0.0, -self._left / self._rate)

    def _refill(self) -> None:
        now = self._clock()
        self._left = min(self._burst, self._left + (now - self._at) * self._rate)
        self._at = now


class TokenBuckets:
    """A bucket per key, such as an address; of more than `most` keys the one silent for longest is forgotten."""

    def __init__(
        self, rate: float, burst: float, most: int = 1024, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._rate, self._burst, self._most, self._clock = rate, burst, most, clock
        self._lock = threading.Lock()
        self._buckets: OrderedDict[Hashable, TokenBucket] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, key: Hashable) -> bool:
        """Take a token from the bucket of `key`; returns False if there is none."""
        with self._lock:
            return self._of(key).take()

    def has(self, key: Hashable) -> bool:
        """Whether the bucket of `key` has a token; takes none."""
        with self._lock:
            return key not in self._buckets or self._of(key).has()

    def borrow(self, key: Hashable, cost: float = 1) -> float:
        """Take tokens from the bucket of `key` as TokenBucket.borrow does; returns the seconds to wait."""
        with self._lock:
            return self._of(key).borrow(cost)

    def _of(self, key: Hashable) -> TokenBucket:
        bucket = self._buckets.pop(key, None) or TokenBucket(self._rate, self._burst, self._clock)
        self._buckets[key] = bucket
        while len(self._buckets) > self._most:
            self._buckets.popitem(last=False)
        return bucket
