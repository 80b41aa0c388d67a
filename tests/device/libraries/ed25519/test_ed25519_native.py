"""The native verifier and the way it is chosen; its twin in Python is the judge (test_ed25519.py)."""

import sys
from binascii import unhexlify

import check
from check import Random, equal, ground, raises, skip, true, vectors

if "native" in check.settings:
    sys.path.insert(0, check.settings["native"])
import ed25519  # chooses machine code as it is imported
from ed25519 import pure

GROUNDS = ("cpython", "unix", "cortex-m3")
TIMEOUT_S = 600


def native():
    if ground == "cpython":
        skip("no machine code from .mpy files here")
    try:
        import _ed25519
    except ImportError:
        skip("not built: python tools/native.py")
    return _ed25519


def entries(most=None):
    for entry in vectors("ed25519", most):
        parts = [unhexlify(entry[name]) for name in ("key", "message", "signature")]
        yield entry["why"], entry["valid"], parts


def test_every_vector():
    verify = native().verify
    seen = 0
    for why, valid, parts in entries():
        equal(verify(*parts), valid, why)
        seen += 1
    true(seen >= 130, seen)


def test_messages_of_every_length():
    # Signatures over them would be many; the hash decides over R alone, so a wrong one shows in the twins' verdicts
    # only through what is valid: take the valid vectors apart and shift where the message ends.
    verify = native().verify
    for _, valid, (key, message, signature) in entries():
        if valid and len(message) > 130:
            for size in range(0, 130, 1 if ground == "unix" else 16):
                equal(verify(key, message[:size], signature), False)
            return


def test_mutations_have_the_twins_verdict():
    verify = native().verify
    random = Random(25519)
    rounds = {"unix": 40, "cortex-m3": 1}[ground]
    for _, _, parts in entries(12):
        for _ in range(rounds):
            changed = [bytearray(part) for part in parts]
            part = changed[random.below(3)]
            if part:
                part[random.below(len(part))] ^= 1 << random.below(8)
            equal(verify(*changed), pure.verify(*changed))


def test_bad_lengths():
    verify = native().verify
    for key in (b"", bytes(31), bytes(32), bytes(64)):
        for signature in (b"", bytes(63), bytes(64), bytes(65), bytes(1000)):
            equal(verify(key, b"", signature), False)
    raises(TypeError, verify, None, b"", bytes(64))


def test_chosen_where_it_can_be_loaded():
    try:
        native()
        there = True
    except check.Skip:
        there = False
    equal(ed25519.native(), there)
    seen = 0
    for why, valid, (key, message, signature) in entries(10):
        equal(ed25519.verify(key, message, signature), valid, why)
        # A table is as good as the key; machine code reads no more of it than the key.
        try:
            pinned = ed25519.precompute(key)
        except ValueError:
            continue
        equal(ed25519.verify_precomputed(pinned, message, signature), valid, why)
        equal(ed25519.verify_precomputed(pinned[:32], message, signature), False, why)
        seen += 1
    true(seen >= 3, seen)


def test_pin_feeds():
    if ground == "cortex-m3":
        skip("the same everywhere")
    fed = []
    ed25519.precompute(b"\x58" + b"\x66" * 30 + b"\xe6", lambda: fed.append(1))
    true(len(fed) >= 8, fed)
