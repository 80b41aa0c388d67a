"""Ed25519 keys and signatures (RFC 8032 sections 5.1.5 and 5.1.6) in plain Python, for the rare
signature that a board makes itself.

Not in constant time: sign only where nobody can measure many signatures, such as once in a while
over a network. The public key is always computed, never taken from outside: a signature made with
a wrong one gives the private key away.
"""

from sha512 import sha512

from ed25519.base_table import TABLE
from ed25519.curve import IDENTITY, ORDER, double, encode
from ed25519.pure import COLUMNS, add_column, comb_columns


class Key:
    """A private key. public: its public key, 32 bytes."""

    def __init__(self, seed, tick=None):
        """seed: 32 random bytes, secret. tick(): called before each long step, some 14 million
        instructions on a Cortex-M3 (feed a watchdog there).
        """
        if len(seed) != 32:
            raise ValueError("a seed has 32 bytes")
        self._tick = tick
        digest = bytearray(sha512(seed))
        digest[0] &= 248
        digest[31] = digest[31] & 63 | 64
        self._scalar = int.from_bytes(digest[:32], "little")
        self._prefix = bytes(digest[32:])
        self.public = self._times_base(self._scalar)

    def sign(self, message):
        """The 64-byte signature of message (bytes)."""
        secret = _number(self._prefix, message)
        commitment = self._times_base(secret)
        challenge = _number(commitment, self.public, message)
        proof = (secret + challenge * self._scalar) % ORDER
        return commitment + proof.to_bytes(32, "little")

    def _times_base(self, scalar):
        """scalar times the base point, encoded."""
        if self._tick:
            self._tick()
        of_base = comb_columns(scalar)
        point = IDENTITY
        for i in range(COLUMNS - 1, -1, -1):
            point = add_column(double(point, True), TABLE, 0, of_base[i], True)
        return encode(point)


def _number(*parts):
    return int.from_bytes(sha512(b"".join(parts)), "little") % ORDER
