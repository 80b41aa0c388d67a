"""Precomputed tables of the trusted keys, for boards that verify signatures without machine code.

With a table a signature costs half of what it costs without (bench/device.py), but making one
costs three signatures. So it is made once in a key's life and stored in a file, from which it is
read (3 KiB) for each signature: no RAM in between. Its digest follows it, since a table damaged in
storage would reject good signatures.
"""

import gc
import hashlib

import ed25519

from gate import console
from gate.clock import const

_PREFIX = "pin-"
_MOST = const(4)  # tables; beyond that, all are made anew
_DIGEST_SIZE = const(32)


class KeyTables:
    """state: SmallFiles for the tables; feed(): called every second or so while one is made."""

    def __init__(self, state, feed):
        self._state = state
        self._feed = feed

    def table(self, public_key):
        """The table that ed25519.precompute makes of a trusted key; None without room for it."""
        name = _PREFIX + public_key[:8].hex()
        gc.collect()  # the table needs one contiguous block, to be read or made
        try:
            data = self._state.read(name)
            if data is None or not _is_whole(data, public_key):
                data = None  # its room is needed
                data = self._make(name, public_key)
            return memoryview(data)[:-_DIGEST_SIZE]
        except (OSError, MemoryError, ValueError) as error:
            console.info("no table for a key: %r", error)
            return None

    def _make(self, name, public_key):
        stored = [other for other in self._state.names() if other.startswith(_PREFIX)]
        for other in stored if len(stored) >= _MOST else ():
            self._state.remove(other)
        gc.collect()
        data = ed25519.precompute(public_key, self._feed)
        data.extend(hashlib.sha256(data).digest())
        self._state.write(name, data)
        return data


def _is_whole(data, public_key):
    table = memoryview(data)[:-_DIGEST_SIZE]
    digest = hashlib.sha256(table).digest()
    return digest == data[-_DIGEST_SIZE:] and table[: len(public_key)] == public_key
