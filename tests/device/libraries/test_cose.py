from binascii import hexlify, unhexlify

import cbor
import cose
import ed25519
from check import Random, equal, foreign, ground, raises, true, vectors

GROUNDS = ("cpython", "unix", "cortex-m3")


def entries(kind=None):
    for entry in vectors("cose"):
        if kind is None or entry["kind"] == kind:
            yield entry["why"], entry


def parts(entry):
    """(message, key, payload if detached else None)"""
    payload = unhexlify(entry["payload"]) if entry["detached"] else None
    return unhexlify(entry["message"]), unhexlify(entry["key"]), payload


def test_signed_elsewhere():
    seen = 0
    for why, entry in entries("valid"):
        message, key, payload = parts(entry)
        sign1 = cose.decode_sign1(message)
        equal(sign1.headers[cose.ALG], cose.ED25519)
        equal(sign1.kid, cose.key_id(key), why)
        equal(hexlify(cose.key_id(key)).decode(), entry["kid"], why)
        equal(hexlify(payload if sign1.payload is None else sign1.payload).decode(), entry["payload"], why)
        true(cose.verify_sign1(sign1, key, payload), why)
        true(not cose.verify_sign1(sign1, key, payload, external=b"x"), why)
        seen += 1
    true(seen >= 4)


def test_forged():
    seen = 0
    for why, entry in entries("forged"):
        message, key, payload = parts(entry)
        true(not cose.verify_sign1(cose.decode_sign1(message), key, payload), why)
        seen += 1
    true(seen >= 5)


def test_malformed():
    seen = 0
    for why, entry in entries("malformed"):
        true(len(str(raises(cose.CoseError, cose.decode_sign1, unhexlify(entry["message"])))) > 5, why)
        seen += 1
    true(seen >= 15)


def test_to_be_signed():
    # A SUIT digest signed with alg -19: 55 bytes, always.
    digest = cbor.dumps([-16, bytes(32)])
    message = cose.to_be_signed(b"\xa1\x01\x32", digest)
    equal(message, b"\x84\x6aSignature1\x43\xa1\x01\x32\x40\x58\x24\x82\x2f\x58\x20" + bytes(32))
    equal(cose.to_be_signed(b"", b"", b"ad"), b"\x84\x6aSignature1\x40\x42ad\x40")


def test_a_payload_is_inside_or_outside():
    why, entry = next(entries("valid"))
    message, key, payload = parts(entry)
    sign1 = cose.decode_sign1(message)
    other = b"something else" if sign1.payload is not None else None
    true(not cose.verify_sign1(sign1, key, other, verify=lambda *_: True))
    true(not cose.verify_sign1(sign1, key, payload, verify=lambda *_: True, alg=-7))
    true(cose.verify_sign1(sign1, key, payload, verify=lambda *_: True))


def test_pinned_key():
    why, entry = next(entries("valid"))
    message, key, payload = parts(entry)
    sign1 = cose.decode_sign1(message)
    true(cose.verify_sign1(sign1, ed25519.precompute(key), payload, verify=ed25519.verify_precomputed))


def test_mutations_are_refused():
    why, entry = next(entries("valid"))
    message, key, payload = parts(entry)
    random = Random(3)
    rounds = {"cpython": 1500, "unix": 100, "cortex-m3": 5}[ground]
    decoded = 0
    for _ in range(rounds):
        changed = bytearray(message)
        at = random.below(len(changed))
        changed[at] ^= 1 << random.below(8)
        try:
            sign1 = cose.decode_sign1(changed)
        except cose.CoseError:
            continue
        decoded += 1
        # The kid is not signed: it only says where to look.
        if sign1.protected + (sign1.payload or b"") + sign1.signature not in bytes(changed) or sign1.kid is None:
            continue
        if at not in range(message.find(cose.key_id(key)), message.find(cose.key_id(key)) + 8):
            true(not cose.verify_sign1(sign1, key, payload), at)
    true(decoded > 0)


def test_foreign_examples():
    example = foreign("cose_eddsa-sig-01.json")
    sign1 = cose.decode_sign1(unhexlify(example["output"]["cbor"]))
    key = unhexlify(example["input"]["sign0"]["key"]["x_hex"])
    equal(sign1.kid, b"11")
    message = cose.to_be_signed(sign1.protected, sign1.payload)
    equal(message, unhexlify(example["intermediates"]["ToBeSign_hex"]))
    # The same curve under its old number, -8, which is not taken unless it is asked for.
    true(not cose.verify_sign1(sign1, key))
    true(cose.verify_sign1(sign1, key, alg=-8))
    # Ed448; ES256 with the algorithm outside; ES256 untagged.
    raises(cose.CoseError, cose.decode_sign1, unhexlify(foreign("cose_eddsa-sig-02.json")["output"]["cbor"]))
    raises(cose.CoseError, cose.decode_sign1, unhexlify(foreign("cose_sign1-pass-01.json")["output"]["cbor"]))
    untagged = unhexlify(foreign("cose_sign1-pass-03.json")["output"]["cbor"])
    raises(cose.CoseError, cose.decode_sign1, untagged)
    equal(cose.decode_sign1(untagged, tagged=False).headers, {1: -7})
