"""edwards25519 (RFC 8032 section 5.1), slowly, by affine arithmetic from its formulas; and libsodium's verdict.

What makes signatures that no signing function would make.
"""

from __future__ import annotations

import hashlib

import nacl.bindings
import nacl.exceptions

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P

Point = tuple[int, int]


def add(a: Point, b: Point) -> Point:
    k = D * a[0] * b[0] * a[1] * b[1] % P
    x = (a[0] * b[1] + b[0] * a[1]) * pow(1 + k, -1, P) % P
    y = (a[1] * b[1] + a[0] * b[0]) * pow(1 - k, -1, P) % P
    return x, y


def multiply(scalar: int, point: Point) -> Point:
    result = (0, 1)
    while scalar:
        if scalar & 1:
            result = add(result, point)
        point = add(point, point)
        scalar >>= 1
    return result


def with_y(y: int, sign: int = 0) -> Point | None:
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * pow(2, (P - 1) // 4, P) % P
    if (x * x - square) % P:
        return None
    return (P - x if x & 1 != sign else x), y


def encode(point: Point) -> bytes:
    return (point[1] | (point[0] & 1) << 255).to_bytes(32, "little")


BASE = with_y(4 * pow(5, -1, P) % P)
assert BASE
# A point of order 8: L times a point that is not in the subgroup.
TORSION = next(t for y in range(2, 99) if (q := with_y(y)) and multiply(4, t := multiply(L, q)) != (0, 1))


def comb_table() -> bytes:
    teeth = [multiply(2 ** (43 * tooth), BASE) for tooth in range(6)]
    table = b""
    for index in range(32):
        total = teeth[5]
        for tooth in range(5):
            x, y = teeth[tooth]
            total = add(total, (x if index >> tooth & 1 else P - x, y))
        x, y = total
        for number in ((y + x) % P, (y - x) % P, 2 * D * x * y % P):
            table += number.to_bytes(32, "little")
    return table


def challenge(r: bytes, key: bytes, message: bytes) -> int:
    return int.from_bytes(hashlib.sha512(r + key + message).digest(), "little") % L


def libsodium_accepts(key: bytes, message: bytes, signature: bytes) -> bool:
    try:
        return nacl.bindings.crypto_sign_open(signature + message, key) == message
    except (nacl.exceptions.BadSignatureError, ValueError, nacl.exceptions.TypeError):
        return False
