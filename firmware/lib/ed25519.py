"""Ed25519 signature verification (RFC 8032 section 5.1.7) in plain Python.

Strict, and the same as libsodium's: S < L, canonical public key and R, no public key or R of small order, and the
equation is checked without a cofactor, by comparing the encoded R. Nothing here is secret, so nothing takes care
to run in constant time.

`verify` takes any key. `pin` makes a table of a key that stays, once; `verify_pinned` then needs a sixth of the
doublings. A table is trusted as the key is: keep it where the key is kept, never take it from an update.

Numbers are folded, not reduced: 2**255 = 19 (mod p), so what is above bit 255 comes back in times 19. One fold takes
a product of two numbers below 2**265 to less than 2**280, two take it to 2**255 and a bit. Inside a point operation
one is enough; two on every coordinate that leaves it keep the sizes from creeping up.
"""

from ed25519_base import TABLE
from sha512 import sha512

try:
    from micropython import const
except ImportError:

    def const(value):
        return value


_P = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFED
_M = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF  # 255 bits
_L = 0x1000000000000000000000000000000014DEF9DEA2F79CD65812631A5CF5D3ED  # order of the base point
_D = 0x52036CEE2B6FFE738CC740797779E89800700A4D4141D8AB75EB4DCA135978A3
_D2 = 0x2406D9DC56DFFCE7198E80F2EEF3D13000E0149A8283B156EBD69B9426B2F159  # 2d
_ROOT = 0x2B8324804FC1DF0B2B4D00993DFBD7A72F431806AD2FE478C4EE1B274A0EA0B0  # square root of -1
# A multiple of p above any difference of products folded once: MicroPython masks negative numbers at twice the price.
_LIFT = _P << 9
# The y of the points of order 8 is this or its negative; of order 1, 2 and 4 it is 1, -1 and 0.
_Y8 = 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7

# The comb: a scalar of 258 bits as 43 columns of 6 teeth, tooth j being bit 43 j + column; every bit stands for
# +1 or -1, so a table holds the 32 sums whose top tooth is +1 (Hamburg, "Fast and compact elliptic-curve
# cryptography", 2012, section 3.3).
_TEETH = const(6)
_COLUMNS = const(43)
_ONES = (1 << 258) - 1
# A table entry: y + x, y - x and 2dxy, 32 bytes each, little-endian.
_ENTRY = const(96)
_NAF = const(5)  # window of the non-adjacent form: odd digits below 16


def verify(public_key, message, signature):
    """Whether signature (64 bytes) is the key's (32 bytes) over message (bytes-like). Never raises for bad input."""
    scalars = _scalars(public_key, message, signature)
    if scalars is None:
        return False
    minus_a = _minus_key(public_key)
    if minus_a is None:
        return False
    s, h = scalars
    multiples = _odd_multiples(minus_a)
    digits = _naf(h)
    columns = _columns(s)
    # Straus: both scalars share the doublings; the base point's comb joins for the last 43.
    point = None
    for i in range(255, -1, -1):
        digit = digits[i]
        if point is not None:
            point = _double(point, digit or i < _COLUMNS)
        if digit:
            minus = digit >= 128  # digits are signed bytes
            point = _add(point or (0, 1, 1, 0), multiples[(256 - digit if minus else digit) >> 1], minus, i < _COLUMNS)
        if i < _COLUMNS:
            point = _add_column(point or (0, 1, 1, 0), TABLE, 0, columns[i], False)
    return _encoded(point) == bytes(signature[:32])


def verify_pinned(pinned, message, signature):
    """As verify, with what `pin` made of the key in place of the key."""
    scalars = _scalars(bytes(pinned[:32]), message, signature)
    if scalars is None:
        return False
    s, h = scalars
    of_base = _columns(s)
    of_key = _columns(h)
    point = (0, 1, 1, 0)
    for i in range(_COLUMNS - 1, -1, -1):
        point = _double(point, True)
        point = _add_column(point, TABLE, 0, of_base[i], True)
        point = _add_column(point, pinned, 32, of_key[i], False)
    return _encoded(point) == bytes(signature[:32])


def pin(public_key):
    """The key and its comb table, 3104 bytes, for verify_pinned; a bytearray; about the work of two verifications.
    Raises ValueError for a key that verify would refuse, or that is not of the base point's order (no honest key is)."""
    minus_a = None if len(public_key) != 32 or _small_order(public_key) else _minus_key(public_key)
    if minus_a is None:
        raise ValueError("not a usable Ed25519 public key")
    out = bytearray(32 + (_ENTRY << (_TEETH - 1)))
    out[:32] = public_key
    # The sum of all teeth first; then from sum to sum in Gray's order, one tooth changing its sign each time.
    point = total = minus_a
    twice = []
    for tooth in range(_TEETH - 1):
        for step in range(_COLUMNS):
            doubled = _double(point, step == 0 or step == _COLUMNS - 1)
            if step == 0:
                twice.append(_cached(doubled))
            point = doubled
        total = _add(total, _cached(point), False, True)
    index = (1 << (_TEETH - 1)) - 1
    for count in range(1, (1 << (_TEETH - 1)) + 1):
        _write_entry(out, 32 + index * _ENTRY, total)
        tooth = 0
        while not count >> tooth & 1:
            tooth += 1
        if tooth < _TEETH - 1:
            total = _add(total, twice[tooth], index >> tooth & 1, True)
            index ^= 1 << tooth
    # L times the key, by the table just made: L is odd, so its columns are L's own.
    point = (0, 1, 1, 0)
    columns = _columns(_L)
    for i in range(_COLUMNS - 1, -1, -1):
        point = _add_column(_double(point, True), out, 32, columns[i], False)
    if _encoded(point) != b"\x01" + bytes(31):
        raise ValueError("an Ed25519 public key of mixed order")
    return out


def _write_entry(out, at, point):
    x, y, z, _ = point
    z = _inverse(z)
    x = x * z % _P
    y = y * z % _P
    for number in ((y + x) % _P, (y - x) % _P, x * y * _D2 % _P):
        out[at : at + 32] = number.to_bytes(32, "little")
        at += 32


def _scalars(public_key, message, signature):
    """(S, H(R, A, M) mod L), or None where the lengths, S, R or the key cannot be right."""
    if len(public_key) != 32 or len(signature) != 64:
        return None
    s = int.from_bytes(signature[32:], "little")
    if s >= _L or _small_order(public_key) or _small_order(signature[:32]):
        return None
    data = bytearray(64 + len(message))
    data[:32] = signature[:32]
    data[32:64] = public_key
    data[64:] = message
    return s, int.from_bytes(sha512(data), "little") % _L


def _small_order(encoded):
    """Whether the 32 bytes are a point of order 8 or less, or no canonical encoding (RFC 8032 section 5.1.3)."""
    y = int.from_bytes(encoded, "little") & _M
    return y >= _P - 1 or y <= 1 or y == _Y8 or y == _P - _Y8


def _minus_key(encoded):
    """The negative of the encoded point, as (x, y, 1, xy), or None where no point has that encoding."""
    y = int.from_bytes(encoded, "little")
    sign = y >> 255
    y &= _M
    # x**2 = u / v; the candidate root is u v**3 (u v**7)**((p - 5) / 8), RFC 8032 section 5.1.3.
    yy = y * y % _P
    u = yy - 1
    v = (yy * _D + 1) % _P
    v3 = v * v % _P * v % _P
    x = _power(v3 * v3 % _P * v % _P * u % _P) * v3 % _P * u % _P
    check = v * x % _P * x % _P
    if check != u % _P:
        if check != -u % _P:
            return None
        x = x * _ROOT % _P
    # x = 0 is of small order and refused before.
    if x & 1 == sign:
        x = _P - x
    return x, y, 1, x * y % _P


def _power(x):
    """x ** ((p - 5) / 8) = x ** (2**252 - 3), up to multiples of p: 252 squarings and 11 products."""
    x2 = _squared(x, 1) * x % _P  # 2**2 - 1 ones in the exponent
    x4 = _squared(x2, 2) * x2 % _P
    x5 = _squared(x4, 1) * x % _P
    x10 = _squared(x5, 5) * x5 % _P
    x20 = _squared(x10, 10) * x10 % _P
    x40 = _squared(x20, 20) * x20 % _P
    x50 = _squared(x40, 10) * x10 % _P
    x100 = _squared(x50, 50) * x50 % _P
    x200 = _squared(x100, 100) * x100 % _P
    x250 = _squared(x200, 50) * x50 % _P
    return _squared(x250, 2) * x % _P


def _squared(x, times):
    m = _M
    for _ in range(times):
        x *= x
        x = (x & m) + (x >> 255) * 19
        x = (x & m) + (x >> 255) * 19
    return x


def _inverse(x):
    """1 / x mod p, by Euclid: a third of the work of a power."""
    a = _P
    b = x % _P
    u = 0
    v = 1
    while b:
        quotient, rest = divmod(a, b)
        a = b
        b = rest
        u, v = v, u - quotient * v
    return u % _P


def _encoded(point):
    x, y, z, _ = point
    z = _inverse(z)
    return (y * z % _P | (x * z % _P & 1) << 255).to_bytes(32, "little")


def _double(point, with_t):
    """2 * point, in extended coordinates (x/z, y/z, t = xy/z). Hisil, Wong, Carter, Dawson 2008, section 3.3, all
    four negated. t is only made when the next step, an addition, wants it."""
    x, y, z, _ = point
    m = _M
    e = (x + x) * y
    e = (e & m) + (e >> 255) * 19
    x *= x
    x = (x & m) + (x >> 255) * 19
    y *= y
    y = (y & m) + (y >> 255) * 19
    z *= z
    z = (z & m) + (z >> 255) * 19
    g = y - x
    return _products(e, z + z - g + _LIFT, g + _LIFT, y + x, with_t)


def _add(point, cached, minus, with_t):
    """point + cached, or point - cached; cached is (y + x, y - x, 2z, 2dt). Same paper, section 3.1."""
    x, y, z, t = point
    y_plus_x, y_minus_x, z2, t2d = cached
    if minus:
        y_plus_x, y_minus_x = y_minus_x, y_plus_x
    m = _M
    a = (y - x) * y_minus_x
    a = (a & m) + (a >> 255) * 19
    b = (y + x) * y_plus_x
    b = (b & m) + (b >> 255) * 19
    t *= t2d
    t = (t & m) + (t >> 255) * 19
    z *= z2
    if z2 != 2:
        z = (z & m) + (z >> 255) * 19
    if minus:
        return _products(b - a + _LIFT, z + t, z - t + _LIFT, b + a, with_t)
    return _products(b - a + _LIFT, z - t + _LIFT, z + t, b + a, with_t)


def _products(e, f, g, h, with_t):
    m = _M
    t = 0
    if with_t:
        t = e * h
        t = (t & m) + (t >> 255) * 19
        t = (t & m) + (t >> 255) * 19
    e *= f
    e = (e & m) + (e >> 255) * 19
    e = (e & m) + (e >> 255) * 19
    f *= g
    f = (f & m) + (f >> 255) * 19
    f = (f & m) + (f >> 255) * 19
    g *= h
    g = (g & m) + (g >> 255) * 19
    g = (g & m) + (g >> 255) * 19
    return e, g, f, t


def _cached(point):
    x, y, z, t = point
    return y + x, y - x, z + z, t * _D2 % _P


def _odd_multiples(point):
    """point times 1, 3, ... 15, cached."""
    twice = _cached(_double(point, True))
    multiples = [_cached(point)]
    for _ in range((1 << (_NAF - 2)) - 1):
        point = _add(point, twice, False, True)
        multiples.append(_cached(point))
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


def _columns(scalar):
    """The comb's columns: 43 numbers of 6 bits, bit set for +1, clear for -1. An even scalar is taken plus L."""
    if not scalar & 1:
        scalar += _L
    # scalar = sum of (2 b - 1) 2**i over 258 bits b, so the b are those of (scalar + 2**258 - 1) / 2.
    data = ((scalar + _ONES) >> 1).to_bytes(33, "little")
    columns = bytearray(_COLUMNS)
    i = 0
    for tooth in range(_TEETH):
        for column in range(_COLUMNS):
            columns[column] |= (data[i >> 3] >> (i & 7) & 1) << tooth
            i += 1
    return columns


def _add_column(point, table, start, column, with_t):
    minus = column < 1 << (_TEETH - 1)
    if minus:
        column = ~column
    start += (column & ((1 << (_TEETH - 1)) - 1)) * _ENTRY
    number = int.from_bytes
    cached = (
        number(table[start : start + 32], "little"),
        number(table[start + 32 : start + 64], "little"),
        2,
        number(table[start + 64 : start + 96], "little"),
    )
    return _add(point, cached, minus, with_t)
