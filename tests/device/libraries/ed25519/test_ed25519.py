from binascii import hexlify, unhexlify

from check import equal, ground, raises, skip, true, vectors
from ed25519 import pure as ed25519

GROUNDS = ("cpython", "unix", "cortex-m3")
TIMEOUT_S = 600

# RFC 8032 section 7.1, TEST 3 and TEST SHA(abc): key, message, signature.
RFC = (
    (
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
        "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
    (
        "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
        "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
        "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
        "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b589"
        "09351fc9ac90b3ecfdfbc7c66431e0303dca179c138ac17ad9bef1177331a704",
    ),
)

# Of 139; on the board each costs some 40 million emulated instructions.
ON_BOARD = 40


def entries():
    for entry in vectors("ed25519", board=ON_BOARD):
        parts = [unhexlify(entry[name]) for name in ("key", "message", "signature")]
        yield entry["why"], entry["valid"], parts


def test_rfc8032():
    for parts in RFC:
        key, message, signature = (unhexlify(part) for part in parts)
        true(ed25519.verify(key, message, signature))
        true(not ed25519.verify(key, message + b" ", signature))


def test_verdicts_are_libsodiums():
    seen = {True: 0, False: 0}
    for why, valid, parts in entries():
        equal(ed25519.verify(*parts), valid, why)
        seen[valid] += 1
    true(seen[True] >= 5 and seen[False] >= 20, seen)


def test_any_bytes_like():
    for why, valid, (key, message, signature) in entries():
        if valid:
            views = [memoryview(bytearray(part)) for part in (key, message, signature)]
            true(ed25519.verify(*views), why)
            return


def test_pinned_says_the_same():
    seen = {True: 0, False: 0}
    refused = 0
    pins = {}
    for why, valid, (key, message, signature) in entries():
        if key not in pins:
            try:
                pins = {key: ed25519.precompute(key)}
            except ValueError:
                # Keys that verify refuses, and the keys of mixed order that it has to take.
                true(not valid or "mixed order" in why, why)
                refused += 1
                continue
        equal(ed25519.verify_precomputed(pins[key], message, signature), valid, why)
        seen[valid] += 1
    true(seen[True] >= 5 and seen[False] >= 10 and refused >= 3, seen)


def test_pin_of_the_base_point_is_its_table():
    if ground == "cortex-m3":
        skip("arithmetic alone, the same everywhere")
    from ed25519.base_table import TABLE

    # pin works with the negative of the key, so this is the negative of the base point.
    base = b"\x58" + b"\x66" * 30 + b"\xe6"
    equal(hexlify(ed25519.precompute(base)[32:]), hexlify(TABLE))


def test_pin_refuses():
    for bad in (b"", bytes(31), bytes(32), b"\x01" + bytes(31), b"\xff" * 32, b"\x02" + bytes(31), bytes(33)):
        raises(ValueError, ed25519.precompute, bad)


def test_bad_types_of_length_never_raise():
    for key in (b"", bytes(31), bytes(64)):
        for signature in (b"", bytes(63), bytes(65), bytes(1000)):
            equal(ed25519.verify(key, b"", signature), False)
