"""Points of edwards25519 (RFC 8032 section 5.1) as tuples of Python integers.

A point is (x, y, z, t) with x/z, y/z its coordinates and t = xy/z; t may be 0 where the next step
is no addition. A cached point is (y + x, y - x, 2z, 2dt), ready to be added. Nothing here is
secret, so nothing takes care to run in constant time.

Numbers are folded, not reduced: 2**255 = 19 (mod p), so what is above bit 255 comes back in
times 19. One fold takes a product of two numbers below 2**265 to less than 2**280, two take it
to 2**255 and a bit. Inside a point operation one is enough; two on every coordinate that leaves
it keep the sizes from creeping up.
"""

_P = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFED
_M = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF  # 255 bits
_D = 0x52036CEE2B6FFE738CC740797779E89800700A4D4141D8AB75EB4DCA135978A3
_D2 = 0x2406D9DC56DFFCE7198E80F2EEF3D13000E0149A8283B156EBD69B9426B2F159  # 2d
_ROOT = 0x2B8324804FC1DF0B2B4D00993DFBD7A72F431806AD2FE478C4EE1B274A0EA0B0  # square root of -1
# A multiple of p above any difference of products folded once: MicroPython takes twice the time
# to mask a negative number.
_LIFT = _P << 9
# The y of the points of order 8 is this or its negative; of order 1, 2 and 4 it is 1, -1 and 0.
_Y8 = 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7

# Order of the base point and its subgroup.
ORDER = 0x1000000000000000000000000000000014DEF9DEA2F79CD65812631A5CF5D3ED
IDENTITY = (0, 1, 1, 0)


def small_order(data):
    """Whether the 32 bytes are a point of order 8 or less, or no canonical encoding (RFC 8032
    section 5.1.3).
    """
    y = int.from_bytes(data, "little") & _M
    return y >= _P - 1 or y <= 1 or y == _Y8 or y == _P - _Y8


def negative(data):
    """The negative of the encoded point, as (x, y, 1, xy), or None where no point has that
    encoding.
    """
    y = int.from_bytes(data, "little")
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


def encode(point):
    """The 32 bytes of the point (RFC 8032 section 5.1.2)."""
    x, y, z, _ = point
    z = _inverse(z)
    return (y * z % _P | (x * z % _P & 1) << 255).to_bytes(32, "little")


def double(point, with_t):
    """2 * point, in extended coordinates (x/z, y/z, t = xy/z). Hisil, Wong, Carter, Dawson
    2008, section 3.3, all four negated. t is only made when the next step, an addition, wants
    it.
    """
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


def add(point, cached, minus, with_t):
    """point + cached, or point - cached; cached is (y + x, y - x, 2z, 2dt). Same paper, section
    3.1.
    """
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


def to_cached(point):
    x, y, z, t = point
    return y + x, y - x, z + z, t * _D2 % _P


def _power(x):
    """x ** ((p - 5) / 8) = x ** (2**252 - 3), up to multiples of p: 252 squarings and 11
    products.
    """
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


def entry(point):
    """The 96 bytes of the point in a comb table: y + x, y - x and 2dxy for z = 1,
    little-endian.
    """
    x, y, z, _ = point
    z = _inverse(z)
    x = x * z % _P
    y = y * z % _P
    out = bytearray(96)
    at = 0
    for number in ((y + x) % _P, (y - x) % _P, x * y * _D2 % _P):
        out[at : at + 32] = number.to_bytes(32, "little")
        at += 32
    return out


def add_entry(point, table, at, minus, with_t):
    """point + or - the entry that starts at table[at]."""
    number = int.from_bytes
    cached = (
        number(table[at : at + 32], "little"),
        number(table[at + 32 : at + 64], "little"),
        2,
        number(table[at + 64 : at + 96], "little"),
    )
    return add(point, cached, minus, with_t)
