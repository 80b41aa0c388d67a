"""Ed25519 signature verification (RFC 8032 section 5.1.7).

Strict, and the same as libsodium's: S < L, canonical public key and R, no public key or R of small
order, and the equation is checked without a cofactor, by comparing the encoded R.

The work is done by the native module _ed25519 where there is one for this core, else by
ed25519.pure; both give the same verdict on everything. In plain Python a key that stays is worth a
table: `pin` makes it, `verify_pinned` uses it and takes half the time. A table is trusted as the
key is: keep it where the key is kept, never take it from an update.
"""

try:
    import _ed25519 as _native
except (ImportError, ValueError, MemoryError):  # none here; for another core; 10 KiB in one piece
    _native = None
    from ed25519 import pure

# function(public_key) -> what `pin` made of that key, or None; for `verify`, where there is no
# machine code. An application that keeps tables sets it.
tables = None

_PINNED_SIZE = 3104  # bytes: the key and its table


def native():
    """Whether signatures are verified by machine code, so that no key needs a table."""
    return _native is not None


def verify(public_key, message, signature):
    """Whether signature (64 bytes) is the key's (32 bytes) over message (bytes-like). Never
    raises for bad input."""
    if _native:
        return _native.verify(public_key, message, signature)
    table = tables(public_key) if tables else None
    if table:
        return pure.verify_pinned(table, message, signature)
    return pure.verify(public_key, message, signature)


def verify_pinned(pinned, message, signature):
    """As verify, with what `pin` made of the key in place of the key."""
    if _native:
        return len(pinned) == _PINNED_SIZE and _native.verify(pinned[:32], message, signature)
    return pure.verify_pinned(pinned, message, signature)


def pin(public_key, tick=None):
    """The key and its comb table, 3104 bytes, for verify_pinned; a bytearray. The work of two
    verifications or so in plain Python, during which tick() is called now and then (feed a
    watchdog there). Raises ValueError for a key that verify would refuse, or that is not of the
    base point's order (no honest key is)."""
    from ed25519 import pure

    return pure.pin(public_key, tick)
