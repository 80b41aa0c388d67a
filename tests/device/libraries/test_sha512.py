from binascii import hexlify

from check import equal, skip
from sha512 import sha512

GROUNDS = ("cpython", "unix", "cortex-m3")

# FIPS 180-4 examples and RFC 6234's; the rest is checked against hashlib where there is one.
EMPTY = (
    "cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce"
    "47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e"
)
ABC = (
    "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
    "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"
)
TWO_BLOCKS = (
    "8e959b75dae313da8cf4f72814fc143f8f7779c6eb9f7fa17299aeadb6889018"
    "501d289e4900f7e4331b99dec4b5433ac7d329eeb6dd26545e96e55b874be909"
)
# What hashlib says of test_every_length_around_the_block.
CHAINED = (
    "1adbba08a038865feb3936d5722e9a1e7779c2b6e6f2c88d917b3d758c5a506f"
    "415c526b0857492ce7253262218b1baab0faa345439e449991fc93a379f3e6f9"
)


def digest(data):
    return hexlify(sha512(data)).decode()


def test_known_answers():
    equal(digest(b""), EMPTY)
    equal(digest(b"abc"), ABC)
    equal(
        digest(
            b"abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu"
        ),
        TWO_BLOCKS,
    )


def test_any_bytes_like():
    equal(digest(memoryview(bytearray(b"xabcx"))[1:4]), ABC)
    equal(digest(bytearray(b"abc")), ABC)


def test_every_length_around_the_block():
    # Chained: each length's input is made of digests so far, so one wrong digest spoils the last.
    data = b""
    lengths = (0, 1, 111, 112, 113, 119, 120, 127, 128, 129, 239, 240, 255, 256, 257)
    for length in lengths:
        while len(data) < length:
            data += sha512(data)
        data = sha512(data[:length]) + data
    equal(digest(data[:300]), CHAINED)


def test_against_hashlib():
    try:
        from hashlib import sha512 as peer
    except ImportError:
        skip("no sha512 in this hashlib")
    for length in range(400):
        data = bytes(range(256)) * 2
        equal(sha512(data[:length]), peer(data[:length]).digest(), str(length))
