"""Echo values (RFC 9175) and the addresses that have returned one.

A value says when and to whom it was given, under a key of the server, so nothing is stored for clients that
never come back. An address that has not returned one gets no answer that is much larger than its request.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections import OrderedDict
from collections.abc import Callable

SIZE = 16  # bytes of a value
FRESH_S = 120  # a value is good for so long: a confirmable exchange may take 93 s
TRUSTED_S = 3600  # how long an address that returned a value is known by that
AMPLIFICATION = 3  # RFC 9175, section 2.4
_TIME = 6  # bytes
_MOST_ADDRESSES = 10_000


class Echoes:
    """Makes and checks values under `key`, and remembers addresses."""

    def __init__(self, key: bytes, clock: Callable[[], float] = time.time) -> None:
        self._key = key
        self._clock = clock
        self._known: OrderedDict[str, float] = OrderedDict()

    def make(self, address: str) -> bytes:
        stamp = int(self._clock() * 1000).to_bytes(_TIME, "big")
        return stamp + self._mac(stamp, address)

    def good(self, value: bytes, address: str) -> bool:
        """Whether we gave it to this address, and lately. If so the address is known from now on."""
        stamp = value[:_TIME]
        if len(value) != SIZE or not hmac.compare_digest(value[_TIME:], self._mac(stamp, address)):
            return False
        if not 0 <= self._clock() - made_at(value) / 1000 <= FRESH_S:
            return False
        self.remember(address)
        return True

    def remember(self, address: str) -> None:
        self._known[address] = self._clock()
        self._known.move_to_end(address)
        while len(self._known) > _MOST_ADDRESSES:
            self._known.popitem(last=False)

    def knows(self, address: str) -> bool:
        at = self._known.get(address)
        return at is not None and 0 <= self._clock() - at <= TRUSTED_S

    def _mac(self, stamp: bytes, address: str) -> bytes:
        return hmac.digest(self._key, stamp + address.encode(), hashlib.sha256)[: SIZE - _TIME]


def made_at(value: bytes) -> int:
    """When a value was made, ms since 1970."""
    return int.from_bytes(value[:_TIME], "big")
