"""Numbers with a fraction as deterministic CBOR has them: in the narrowest of IEEE 754's half,
single and double that keeps the value (RFC 8949 section 4.2.1), and one NaN, f97e00.

Works on bits, in integers below 2**30: so `put` and `put_ratio` allocate nothing on a board, a
board whose own float is a single still refuses a double that is one, and a board without floats
can say 21.5 (`put_ratio`).
"""

import struct

try:
    from micropython import const
except ImportError:

    def const(value):
        return value


SIZE = const(9)  # bytes of the longest item

_HALF = const(0xF9)
_SINGLE = const(0xFA)
_DOUBLE = const(0xFB)
_ENDLESS = const(1024)  # an exponent that stands for infinity here
_FRACTION = const(0x7FFFFF)  # the 23 bits of a single


def encode(number):
    """The whole item, 3, 5 or 9 bytes."""
    item = bytearray(SIZE)
    return bytes(item[: put(item, 0, number)])


def put(buf, at, number):
    """Writes the item of a float at buf[at:], which needs SIZE bytes of room; its end."""
    if number != number:
        buf[at], buf[at + 1], buf[at + 2] = _HALF, 0x7E, 0
        return at + 3
    struct.pack_into(">d", buf, at + 1, number)
    if _narrow_double(buf, at + 1) == 8:
        buf[at] = _DOUBLE
        return at + 9
    high = buf[at + 1]
    exponent = (high & 0x7F) << 4 | buf[at + 2] >> 4
    fraction = (buf[at + 2] & 0xF) << 19 | buf[at + 3] << 11 | buf[at + 4] << 3 | buf[at + 5] >> 5
    exponent = _ENDLESS if exponent == 2047 else exponent - 1023 if exponent else -_ENDLESS
    return _put_single(buf, at, high & 0x80, exponent, fraction)


def put_ratio(buf, at, number, divisor):
    """Writes number / divisor, which are integers and do not divide evenly, as the nearest single
    (ties to even), at buf[at:]; its end. Magnitude: below 2**127; divisor: 2 to 2**29.
    """
    sign = 0
    if number < 0:
        sign, number = 0x80, -number
    bits = number // divisor
    rest = number % divisor
    exponent = 24
    inexact = 0
    while bits >= 0x2000000:
        inexact |= bits & 1
        bits >>= 1
        exponent += 1
    while bits < 0x1000000:  # 24 bits of a single, and one to round by
        rest <<= 1
        bits <<= 1
        exponent -= 1
        if rest >= divisor:
            rest -= divisor
            bits |= 1
    if bits & 1 and (rest or inexact or bits & 2):
        bits += 1
    bits >>= 1
    if bits > 0xFFFFFF:
        bits >>= 1
        exponent += 1
    return _put_single(buf, at, sign, exponent, bits & _FRACTION)


def decode(data):
    """The float of the 2, 4 or 8 bytes after the head, or None where `encode` would not write
    them. A board whose own float is a single rounds a double.
    """
    if len(data) == 8:
        # Infinity is a half, and of the NaNs only the half one is written.
        if _narrow_double(data, 0) == 4 or (data[0] & 0x7F == 0x7F and data[1] >= 0xF0):
            return None
        return struct.unpack(">d", data)[0]
    if len(data) == 4:
        exponent = (data[0] & 0x7F) << 1 | data[1] >> 7
        fraction = (data[1] & 0x7F) << 16 | data[2] << 8 | data[3]
        if exponent == 255 or not (exponent or fraction):
            return None
        # A half has nothing as small as a subnormal single.
        return None if _fits_half(exponent - 127, fraction) else struct.unpack(">f", data)[0]
    return _half(data[0] << 8 | data[1])


def _half(bits):
    exponent = bits >> 10 & 0x1F
    fraction = bits & 0x3FF
    if exponent == 0x1F:
        if fraction and bits != 0x7E00:
            return None
        exponent = 255
    elif exponent:
        exponent += 112
    elif fraction:  # a subnormal half is a normal single
        exponent = 113
        while not fraction & 0x400:
            fraction <<= 1
            exponent -= 1
        fraction &= 0x3FF
    high = (bits >> 15) << 15 | exponent << 7 | fraction >> 3
    data = bytearray(4)
    data[0], data[1], data[2] = high >> 8, high & 0xFF, (fraction & 7) << 5
    return struct.unpack(">f", data)[0]


def _narrow_double(data, at):
    """4 where the 8 bytes at data[at:] keep their value as a single, else 8."""
    exponent = (data[at] & 0x7F) << 4 | data[at + 1] >> 4
    low = data[at + 5] | data[at + 6] | data[at + 7]
    fraction = (data[at + 1] & 0xF) << 16 | data[at + 2] << 8 | data[at + 3]
    if exponent in (0, 2047):  # zero and infinity; a double's subnormals are below every single
        return 8 if fraction | data[at + 4] | low else 4
    if low or data[at + 4] & 0x1F or not 1023 - 149 <= exponent <= 1023 + 127:
        return 8
    if exponent >= 1023 - 126:
        return 4
    # A subnormal single has less room the smaller it is.
    fraction = fraction << 3 | data[at + 4] >> 5
    return 8 if fraction & ((1 << (1023 - 126 - exponent)) - 1) else 4


def _fits_half(exponent, fraction):
    if -14 <= exponent <= 15:
        return not fraction & 0x1FFF
    return -24 <= exponent < -14 and not fraction & ((1 << (-1 - exponent)) - 1)


def _put_single(buf, at, sign, exponent, fraction):
    """Writes sign (0 or 0x80), unbiased exponent and the 23 bits of fraction: as a half if that
    keeps them, else as a single, which they fit.
    """
    if -_ENDLESS < exponent < _ENDLESS and not _fits_half(exponent, fraction):
        if exponent < -126:  # a subnormal: the leading 1 is written out
            fraction = (fraction | 0x800000) >> (-126 - exponent)
            exponent = -127
        exponent += 127
        buf[at] = _SINGLE
        buf[at + 1] = sign | exponent >> 1
        buf[at + 2] = (exponent & 1) << 7 | fraction >> 16
        buf[at + 3] = fraction >> 8 & 0xFF
        buf[at + 4] = fraction & 0xFF
        return at + 5
    fraction >>= 13
    if exponent == _ENDLESS:
        exponent = 31
    elif exponent == -_ENDLESS:
        exponent = 0
    elif exponent < -14:
        fraction = (fraction | 0x400) >> (-14 - exponent)
        exponent = 0
    else:
        exponent += 15
    buf[at] = _HALF
    buf[at + 1] = sign | exponent << 2 | fraction >> 8
    buf[at + 2] = fraction & 0xFF
    return at + 3
