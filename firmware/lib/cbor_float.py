"""Floats as deterministic CBOR has them: in the narrowest of IEEE 754's half, single and double
that keeps the value (RFC 8949 section 4.2.1), and one NaN, f97e00.

Works on bits, not on floats: a board whose own float is a single must still refuse a double
that is one.
"""

import struct

_NAN = b"\xf9\x7e\x00"


def encode(number):
    """The whole item, 3, 5 or 9 bytes."""
    if number != number:
        return _NAN
    double = struct.pack(">d", number)
    single = _narrow(int.from_bytes(double, "big"), 11, 52, 8, 23)
    if single is None:
        return b"\xfb" + double
    half = _narrow(single, 8, 23, 5, 10)
    if half is None:
        return b"\xfa" + single.to_bytes(4, "big")
    return b"\xf9" + half.to_bytes(2, "big")


def decode(data):
    """The float of the 2, 4 or 8 bytes after the head, or None where `encode` would not write
    them. A board whose own float is a single rounds a double."""
    bits = int.from_bytes(data, "big")
    if len(data) == 2:
        return _half(bits)
    if len(data) == 4:
        narrower = _narrow(bits, 8, 23, 5, 10)
        number = struct.unpack(">f", data)[0]
    else:
        narrower = _narrow(bits, 11, 52, 8, 23)
        number = struct.unpack(">d", data)[0]
    return number if narrower is None and number == number else None


def _half(bits):
    exponent = bits >> 10 & 0x1F
    fraction = bits & 0x3FF
    if exponent == 0:
        number = fraction / 16777216
    elif exponent < 0x1F:
        number = (1024 + fraction) * 2.0 ** (exponent - 25)
    elif fraction == 0:
        number = float("inf")
    elif bits == 0x7E00:
        return float("nan")
    else:
        return None
    return -number if bits & 0x8000 else number


def _narrow(bits, exponent_bits, fraction_bits, narrow_exponent, narrow_fraction):
    """The IEEE 754 bits of the same value in the next narrower format, or None where that would
    change it."""
    top = (1 << exponent_bits) - 1
    narrow_top = (1 << narrow_exponent) - 1
    sign = bits >> (exponent_bits + fraction_bits) << (narrow_exponent + narrow_fraction)
    exponent = bits >> fraction_bits & top
    fraction = bits & ((1 << fraction_bits) - 1)
    if exponent == top:  # infinity; of the NaNs only the half one is ever written
        return None if fraction else sign | narrow_top << narrow_fraction
    if exponent == 0:  # zero; the wider format's subnormals are far below the narrower one's
        return None if fraction else sign
    drop = fraction_bits - narrow_fraction
    exponent += (narrow_top >> 1) - (top >> 1)
    if exponent >= narrow_top:
        return None
    if exponent <= 0:  # a subnormal in the narrower format: the leading 1 is written out
        fraction |= 1 << fraction_bits
        drop += 1 - exponent
        exponent = 0
    if drop > fraction_bits + 1 or fraction & ((1 << drop) - 1):
        return None
    return sign | exponent << narrow_fraction | fraction >> drop
