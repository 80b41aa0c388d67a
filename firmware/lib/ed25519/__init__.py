"""Ed25519 signature verification (RFC 8032 section 5.1.7).

Strict, and the same as libsodium's: S < L, canonical public key and R, no public key or R of small
order, and the equation is checked without a cofactor, by comparing the encoded R.

    if not ed25519.verify(public_key, message, signature):
        raise ValueError("not signed by this key")

Machine code does the work where there is some for this core, run in the mapped image
(ed25519.in_place) or loaded into RAM for good (_ed25519), else ed25519.pure; all give the same
verdict on every input. In plain Python a table of the key halves the time:
`precompute` makes it, `verify_precomputed` uses it. A table is trusted as the key is: store it
where the key is stored, never take it from an update.
"""

try:
    from ed25519 import in_place as _native
except (ImportError, ValueError, MemoryError) as first:  # none here; for another core; see below
    try:
        import _ed25519 as _native
    except (ImportError, ValueError, MemoryError) as second:
        _native = None
        try:
            from ed25519 import pure
        except ImportError:
            # The image has machine code alone, and memory for it was short: in RAM it takes 10 KiB
            # in one piece. That passes, unlike a module that is not there.
            raise second if isinstance(second, MemoryError) else first

# function(public_key) -> the key's table from `precompute`, or None; `verify` uses it where there
# is no machine code. An application that stores tables sets it.
tables = None

__version__ = "0.2.0"

_TABLE_SIZE = 3104  # bytes: the key and its comb table


def native():
    """Whether signatures are verified by machine code, so that no key needs a table."""
    return _native is not None


def verify(public_key, message, signature):
    """Whether signature (64 bytes) is the key's (32 bytes) over message (bytes-like). Never raises
    for bad input.
    """
    if _native:
        return _native.verify(public_key, message, signature)
    table = tables(public_key) if tables else None
    if table:
        return pure.verify_precomputed(table, message, signature)
    return pure.verify(public_key, message, signature)


def verify_precomputed(table, message, signature):
    """As verify, with the key's table from `precompute` in place of the key."""
    if _native:
        return len(table) == _TABLE_SIZE and _native.verify(table[:32], message, signature)
    return pure.verify_precomputed(table, message, signature)


def precompute(public_key, tick=None):
    """The key and its comb table for verify_precomputed, a bytearray of 3104 bytes.

    Takes as long as two verifications in plain Python, and calls tick() now and then (feed a
    watchdog there). Raises ValueError for a key that verify would refuse, or that is not of the
    base point's order, as every properly made key is.
    """
    from ed25519 import pure

    return pure.precompute(public_key, tick)
