"""Ed25519 signature verification in plain Python; use it through `ed25519`, which documents it.

`verify` takes any key. `precompute` makes a table of a key once; `verify_precomputed`
needs a sixth of the doublings and half the time.
"""

from sha512 import sha512

from ed25519.base_table import TABLE
from ed25519.curve import (
    IDENTITY,
    ORDER,
    add,
    add_entry,
    double,
    encode,
    entry,
    negative,
    small_order,
    to_cached,
)

try:
    from micropython import const
except ImportError:

    def const(value):
        return value


# The comb: a scalar of 258 bits as 43 columns of 6 teeth, tooth j being bit 43 j + column; every
# bit stands for +1 or -1, so a table holds the 32 sums whose top tooth is +1 (Hamburg, "Fast and
# compact elliptic-curve cryptography", 2012, section 3.3).
_TEETH = const(6)
COLUMNS = const(43)
_SUMS = const(32)
_ONES = (1 << 258) - 1
_ENTRY = const(96)  # bytes of a sum in a table
_TABLE_SIZE = const(3104)  # the key and its table
_NAF = const(5)  # width of the non-adjacent form: odd digits below 16


def verify(public_key, message, signature):
    """As ed25519.verify."""
    scalars = _scalars(public_key, message, signature)
    if scalars is None:
        return False
    minus_a = negative(public_key)
    if minus_a is None:
        return False
    s, h = scalars
    multiples = _odd_multiples(minus_a)
    digits = _naf(h)
    columns = comb_columns(s)
    # Straus: both scalars share the doublings; the base point's comb joins for the last 43.
    point = None
    for i in range(255, -1, -1):
        digit = digits[i]
        if point is not None:
            point = double(point, digit or i < COLUMNS)
        if digit:
            minus = digit >= 128  # digits are signed bytes
            multiple = multiples[(256 - digit if minus else digit) >> 1]
            point = add(point or IDENTITY, multiple, minus, i < COLUMNS)
        if i < COLUMNS:
            point = add_column(point or IDENTITY, TABLE, 0, columns[i], False)
    return encode(point) == bytes(signature[:32])


def verify_precomputed(table, message, signature):
    """As ed25519.verify_precomputed."""
    if len(table) != _TABLE_SIZE:
        return False
    scalars = _scalars(bytes(table[:32]), message, signature)
    if scalars is None:
        return False
    s, h = scalars
    of_base = comb_columns(s)
    of_key = comb_columns(h)
    point = IDENTITY
    for i in range(COLUMNS - 1, -1, -1):
        point = double(point, True)
        point = add_column(point, TABLE, 0, of_base[i], True)
        point = add_column(point, table, 32, of_key[i], False)
    return encode(point) == bytes(signature[:32])


def precompute(public_key, tick=None):
    """As ed25519.precompute."""
    minus_a = None if len(public_key) != 32 or small_order(public_key) else negative(public_key)
    if minus_a is None:
        raise ValueError("not a usable Ed25519 public key")
    out = bytearray(_TABLE_SIZE)
    out[:32] = public_key
    # The sum of all teeth first; then from sum to sum in Gray's order, one tooth changing its sign
    # each time.
    point = total = minus_a
    twice = []
    for _ in range(_TEETH - 1):
        if tick:
            tick()
        for step in range(COLUMNS):
            doubled = double(point, step == 0 or step == COLUMNS - 1)
            if step == 0:
                twice.append(to_cached(doubled))
            point = doubled
        total = add(total, to_cached(point), False, True)
    index = _SUMS - 1
    for count in range(1, _SUMS + 1):
        if tick and not count & 7:
            tick()
        at = 32 + index * _ENTRY
        out[at : at + _ENTRY] = entry(total)
        tooth = 0
        while not count >> tooth & 1:
            tooth += 1
        if tooth < _TEETH - 1:
            total = add(total, twice[tooth], index >> tooth & 1, True)
            index ^= 1 << tooth
    # L times the key, by the table just made: L is odd, so its columns are L's own.
    point = IDENTITY
    columns = comb_columns(ORDER)
    for i in range(COLUMNS - 1, -1, -1):
        point = add_column(double(point, True), out, 32, columns[i], False)
    if encode(point) != b"\x01" + bytes(31):
        raise ValueError("an Ed25519 public key of mixed order")
    return out


def _scalars(public_key, message, signature):
    """(S, H(R, A, M) mod L), or None where the lengths, S, R or the key cannot be right."""
    if len(public_key) != 32 or len(signature) != 64:
        return None
    s = int.from_bytes(signature[32:], "little")
    if s >= ORDER or small_order(public_key) or small_order(signature[:32]):
        return None
    data = bytearray(64 + len(message))
    data[:32] = signature[:32]
    data[32:64] = public_key
    data[64:] = message
    return s, int.from_bytes(sha512(data), "little") % ORDER


def _odd_multiples(point):
    """point times 1, 3, ... 15, cached."""
    twice = to_cached(double(point, True))
    multiples = [to_cached(point)]
    for _ in range(7):
        point = add(point, twice, False, True)
        multiples.append(to_cached(point))
    return multiples


def _naf(scalar):
    """The width-5 non-adjacent form: 256 signed bytes, zero or odd, at most one in 5 not zero."""
    data = scalar.to_bytes(33, "little")
    digits = bytearray(256)
    carry = 0
    at = 0
    while at < 254:
        if data[at >> 3] >> (at & 7) & 1 == carry:
            at += 1
            continue
        byte = at >> 3
        digit = ((data[byte] | data[byte + 1] << 8) >> (at & 7) & 31) + carry
        carry = digit >> 4
        digits[at] = digit - (carry << 5) & 255
        at += _NAF
    return digits


def comb_columns(scalar):
    """The comb's columns: 43 numbers of 6 bits, bit set for +1, clear for -1. An even scalar is
    taken plus L.
    """
    if not scalar & 1:
        scalar += ORDER
    # scalar = sum of (2 b - 1) 2**i over 258 bits b, so the b are those of (scalar + 2**258 - 1) /
    # 2.
    data = ((scalar + _ONES) >> 1).to_bytes(33, "little")
    columns = bytearray(COLUMNS)
    i = 0
    for tooth in range(_TEETH):
        for column in range(COLUMNS):
            columns[column] |= (data[i >> 3] >> (i & 7) & 1) << tooth
            i += 1
    return columns


def add_column(point, table, start, column, with_t):
    minus = column < _SUMS
    if minus:
        column = ~column
    return add_entry(point, table, start + (column & (_SUMS - 1)) * _ENTRY, minus, with_t)
