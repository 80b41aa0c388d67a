"""Tables of the keys this device trusts, where no machine code verifies signatures.

With a table a signature costs half of what it costs without (bench/device.py), but making one
costs three signatures. So it is made once in a key's life and kept in a file, from where it is
read (3 KiB) for each signature: no RAM between them. Its digest stands behind it, since a table
damaged in storage would refuse what is good.
"""

import gc
import hashlib

import ed25519

from gate import console
from gate.clock import const

_PREFIX = "pin-"
_MOST = const(4)  # tables; when there would be more, all are made anew
_DIGEST_SIZE = const(32)


class Pins:
    """state: SmallFiles to keep tables in; feed(): called every second or so while one is made."""

    def __init__(self, state, feed):
        self._state = state
        self._feed = feed

    def table(self, public_key):
        """What ed25519.precompute makes of a trusted key, or None if there is no room for it."""
        name = _PREFIX + "".join("%02x" % byte for byte in public_key[:8])
        gc.collect()  # the table wants its place in one piece, to be read as to be made
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
        kept = [other for other in self._state.names() if other.startswith(_PREFIX)]
        for other in kept if len(kept) >= _MOST else ():
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
