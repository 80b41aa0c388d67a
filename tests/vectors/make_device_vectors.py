"""Writes what the device libraries are tested with, by other people's code and slow code of its own:

    tests/vectors/ed25519.json       signatures, valid and not; the verdicts are libsodium's (PyNaCl)
    tests/vectors/ed25519_edges.json  signatures about which verifiers differ (edge_signatures.py); verdicts as above
    tests/vectors/cose.json          COSE_Sign1 messages, valid, forged and malformed; the valid ones by python-cwt
    tests/vectors/patches.json       patches, sound and not; the sound ones from bsdiff4's triples
    firmware/lib/ed25519/base_table.py     the base point's comb table, by affine arithmetic straight from RFC 8032

Each JSON file is an array with one entry a line, so that a board can read it line by line. Run it from anywhere; the
same versions of the packages give the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import random
import zlib
from pathlib import Path

import bsdiff4.core
import cbor2
import cwt
import nacl.bindings
from edge_signatures import edges
from edwards import BASE, TORSION, L, P, add, challenge, comb_table, encode, libsodium_accepts, multiply, with_y

HERE = Path(__file__).parent
LIB = HERE.parent.parent / "firmware" / "lib"

# ---------------------------------------------------------------- signatures


class Signatures:
    def __init__(self) -> None:
        self.rng = random.Random(8032)
        self.entries: list[dict] = []

    def put(self, why: str, key: bytes, message: bytes, signature: bytes, valid: bool | None = None) -> None:
        verdict = len(key) == 32 and len(signature) == 64 and libsodium_accepts(key, message, signature)
        if valid is not None and verdict != valid:
            raise SystemExit(f"libsodium says {verdict}: {why}")
        self.entries.append(
            {"why": why, "key": key.hex(), "message": message.hex(), "signature": signature.hex(), "valid": verdict}
        )

    def pair(self, seed: bytes | None = None) -> tuple[bytes, bytes]:
        return nacl.bindings.crypto_sign_seed_keypair(seed or self.rng.randbytes(32))

    def sign(self, secret: bytes, message: bytes) -> bytes:
        return nacl.bindings.crypto_sign(message, secret)[:64]

    def all(self) -> list[dict]:
        self.rfc8032()
        self.honest()
        self.changed()
        self.scalars()
        self.keys()
        self.torsion()
        return self.entries

    def rfc8032(self) -> None:
        for number, seed, message in (
            (1, "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60", ""),
            (2, "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb", "72"),
            (3, "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7", "af82"),
        ):
            key, secret = self.pair(bytes.fromhex(seed))
            data = bytes.fromhex(message)
            self.put(f"RFC 8032 section 7.1, test {number}", key, data, self.sign(secret, data), True)

    def honest(self) -> None:
        for length in (0, 1, 47, 48, 55, 63, 64, 65, 127, 128, 129, 191, 192, 300, 1024, *range(2, 40, 3)):
            key, secret = self.pair()
            message = self.rng.randbytes(length)
            self.put(f"{length} random bytes", key, message, self.sign(secret, message), True)

    def changed(self) -> None:
        key, secret = self.pair()
        message = self.rng.randbytes(55)
        signature = self.sign(secret, message)
        for bit in (*range(0, 512, 17), 255, 256, 507, 508, 509, 510, 511):
            self.put(f"signature bit {bit} changed", key, message, flip(signature, bit), False)
        for bit in (*range(0, 256, 23), 254, 255):
            self.put(f"key bit {bit} changed", flip(key, bit), message, signature, False)
        for bit in (0, 7, 100, 439):
            self.put(f"message bit {bit} changed", key, flip(message, bit), signature, False)
        self.put("message one byte longer", key, message + b"\0", signature, False)
        self.put("message one byte shorter", key, message[:-1], signature, False)
        self.put("another's key", self.pair()[0], message, signature, False)
        self.put("R and S exchanged", key, message, signature[32:] + signature[:32], False)
        for length in (0, 1, 32, 63):
            self.put(f"{length} bytes of signature", key, message, signature[:length], False)
        self.put("65 bytes of signature", key, message, signature + b"\0", False)
        for length in (0, 1, 31):
            self.put(f"{length} bytes of key", key[:length], message, signature, False)
        self.put("33 bytes of key", key + b"\0", message, signature, False)

    def scalars(self) -> None:
        key, secret = self.pair()
        message = b"S is below L"
        signature = self.sign(secret, message)
        s = int.from_bytes(signature[32:], "little")
        for times in (1, 2, 7, 15):
            if s + times * L < 2**256:
                changed = signature[:32] + (s + times * L).to_bytes(32, "little")
                self.put(f"S + {times} L", key, message, changed, False)
        for name, value in (("0", 0), ("L", L), ("L - 1", L - 1), ("2**256 - 1", 2**256 - 1), ("-S", L - s)):
            self.put(f"S = {name}", key, message, signature[:32] + value.to_bytes(32, "little"), False)
        # R of the right value for S = 0 and S = 1 with a key whose scalar is known: R = S B - h A needs h first, so
        # this can only fail, whatever R is.
        self.put("all zero", bytes(32), b"", bytes(64), False)
        self.put("all ones", b"\xff" * 32, b"", b"\xff" * 64, False)

    def keys(self) -> None:
        """Keys for which a careless verifier finds the equation true: with A of small order h A often vanishes."""
        smalls = {encode(multiply(k, TORSION)) for k in range(8)}
        encodings = dict.fromkeys(smalls, "canonical")
        for canonical in smalls:
            encodings[flip(canonical, 255)] = encodings.get(flip(canonical, 255), "wrong sign bit")
            y = int.from_bytes(canonical, "little") & (2**255 - 1)
            if y + P < 2**255:
                for sign in (0, 1):
                    encodings[(y + P | sign << 255).to_bytes(32, "little")] = "not canonical"
        for encoded, how in sorted(encodings.items()):
            r = 7 + len(self.entries)
            for attempt in range(1000):
                message = f"small order {attempt}".encode()
                if challenge(encode(multiply(r, BASE)), encoded, message) % 8 == 0:
                    break
            signature = encode(multiply(r, BASE)) + r.to_bytes(32, "little")
            self.put(f"key of small order, {how}", encoded, message, signature, False)
        off_curve = next(y for y in range(2, 99) if with_y(y) is None)
        self.put("key not on the curve", off_curve.to_bytes(32, "little"), b"", bytes(63) + b"\1", False)
        for y in (3, 4, 5, 9, 18):
            if with_y(y):
                self.put(
                    "key not canonical, y + p",
                    (y + P).to_bytes(32, "little"),
                    b"",
                    self.rng.randbytes(63) + b"\0",
                    False,
                )

    def torsion(self) -> None:
        a = int.from_bytes(self.rng.randbytes(31), "little")
        honest = encode(multiply(a, BASE))
        for r, small in ((0, (0, 1)), (5, TORSION), (9, multiply(2, TORSION)), (11, multiply(4, TORSION))):
            encoded = encode(add(multiply(r, BASE), small))
            h = challenge(encoded, honest, b"R")
            s = (r + h * a) % L
            what = "R is the identity" if not r else "R of mixed order; only a cofactor would excuse it"
            self.put(what, honest, b"R", encoded + s.to_bytes(32, "little"), False)
        # The same identity, written y + p: whoever decodes and encodes R again would take it.
        encoded = (1 + P).to_bytes(32, "little")
        s = challenge(encoded, honest, b"R") * a % L
        self.put("R not canonical", honest, b"R", encoded + s.to_bytes(32, "little"), False)
        mixed = encode(add(multiply(a, BASE), TORSION))
        for want in (0, 1, 4):
            r = 1000 + want
            encoded = encode(multiply(r, BASE))
            for attempt in range(1000):
                message = f"mixed {attempt}".encode()
                h = challenge(encoded, mixed, message)
                if h % 8 == want:
                    break
            s = (r + h * a) % L
            signature = encoded + s.to_bytes(32, "little")
            self.put(f"key of mixed order, h = {want} mod 8", mixed, message, signature, want == 0)


def flip(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


# ---------------------------------------------------------------- COSE_Sign1


def cose_messages() -> list[dict]:
    rng = random.Random(9052)
    entries: list[dict] = []

    def put(
        kind: str, why: str, message: bytes, key: bytes = b"", payload: bytes = b"", detached: bool = False
    ) -> None:
        kid = hashlib.sha256(cbor2.dumps({1: 1, -1: 6, -2: key}, canonical=True)).digest()[:8]
        entries.append(
            {"kind": kind, "why": why, "message": message.hex(), "key": key.hex(), "kid": kid.hex(),
             "payload": payload.hex(), "detached": detached}
        )  # fmt: skip

    def signed(payload: bytes, protected: dict | None = None, detached: bool = False) -> tuple[bytes, bytes]:
        """(message, public key), by python-cwt."""
        public, secret = nacl.bindings.crypto_sign_seed_keypair(rng.randbytes(32))
        kid = hashlib.sha256(cbor2.dumps({1: 1, -1: 6, -2: public}, canonical=True)).digest()[:8]
        signer = cwt.COSEKey.new({1: 1, 2: kid, 3: -19, -1: 6, -2: public, -4: secret[:32]})
        headers = {1: -19, **(protected or {})}
        message = cwt.COSE.new().encode_and_sign(payload, signer, headers, {4: kid})
        if detached:
            tag = cbor2.loads(message)
            tag.value[2] = None
            message = cbor2.dumps(tag, canonical=True)
        return message, public

    payload = bytes.fromhex("822f5820") + rng.randbytes(32)
    message, key = signed(payload, detached=True)
    put("valid", "a manifest's digest, detached", message, key, payload, True)
    put("forged", "another digest", message, key, payload[:-1] + bytes((payload[-1] ^ 1,)), True)
    put("forged", "no payload at all", message, key, b"", True)
    for why, data, protected in (
        ("a command, typ CWT", rng.randbytes(60), {16: 61}),
        ("an empty payload", b"", None),
        ("a long payload", rng.randbytes(700), None),
    ):
        message, key = signed(data, protected)
        put("valid", why, message, key, data)
    message, key = signed(b"hello")
    tag = cbor2.loads(message)
    for why, position, value in (
        ("another payload", 2, b"hellO"),
        ("another protected header", 0, bytes.fromhex("a2013210183d")),
        ("alg -8", 0, bytes.fromhex("a10127")),
        ("no alg", 0, b""),
        ("another signature", 3, tag.value[3][:63] + b"\0"),
        ("a signature of zeros", 3, bytes(64)),
    ):
        parts = list(tag.value)
        parts[position] = value
        put("forged", why, cbor2.dumps(cbor2.CBORTag(18, parts), canonical=True), key, b"hello")
    put("forged", "another's key", message, signed(b"")[1], b"hello")
    protected, unprotected, body, signature = tag.value
    for why, parts in (
        ("signature of 63 bytes", [protected, unprotected, body, signature[:63]]),
        ("signature of 65 bytes", [protected, unprotected, body, signature + b"\0"]),
        ("signature not bytes", [protected, unprotected, body, None]),
        ("payload not bytes", [protected, unprotected, "hello", signature]),
        ("protected header not wrapped", [{1: -19}, unprotected, body, signature]),
        ("protected header an empty map", [b"\xa0", unprotected, body, signature]),
        ("protected header an array", [b"\x80", unprotected, body, signature]),
        ("protected header not CBOR", [b"\xff", unprotected, body, signature]),
        ("protected header not deterministic", [bytes.fromhex("a118013812"), unprotected, body, signature]),
        ("protected header followed by a byte", [protected + b"\0", unprotected, body, signature]),
        ("unprotected header wrapped", [protected, cbor2.dumps(unprotected), body, signature]),
        ("algorithm not protected", [b"", {1: -19, **unprotected}, body, signature]),
        ("algorithm in both headers", [protected, {1: -19, **unprotected}, body, signature]),
        ("key id in both headers", [b"\xa2\x01\x32\x04\x48" + unprotected[4], unprotected, body, signature]),
        ("a critical header", [bytes.fromhex("a20132028104"), unprotected, body, signature]),
        ("a critical header, not protected", [protected, {2: [4], **unprotected}, body, signature]),
        ("a key id that is a list", [protected, {4: [b"kid"]}, body, signature]),
        ("a key id that is nothing", [protected, {4: None}, body, signature]),
        ("three parts", [protected, unprotected, body]),
        ("five parts", [protected, unprotected, body, signature, b""]),
    ):
        put("malformed", why, cbor2.dumps(cbor2.CBORTag(18, parts), canonical=True))
    put("malformed", "not tagged", cbor2.dumps(tag.value, canonical=True))
    put("malformed", "tagged as COSE_Mac0", cbor2.dumps(cbor2.CBORTag(17, tag.value), canonical=True))
    put("malformed", "tagged twice", b"\xd2" + message)
    put("malformed", "a map", cbor2.dumps(cbor2.CBORTag(18, {})))
    put("malformed", "nothing", b"")
    put("malformed", "cut short", message[:-1])
    put("malformed", "followed by a byte", message + b"\0")
    put("malformed", "of indefinite length", b"\xd2\x9f" + message[2:] + b"\xff")
    return entries


# ---------------------------------------------------------------- patches (docs/patch-format.md), the plain way


def uvarint(value: int) -> bytes:
    out = b""
    while value >= 0x80:
        out += bytes((value & 0x7F | 0x80,))
        value >>= 7
    return out + bytes((value,))


def zigzag(value: int) -> bytes:
    return uvarint(value << 1 if value >= 0 else (-value << 1) - 1)


def deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -9, 9)
    return packer.compress(data) + packer.flush()


def patch_header(old: bytes, new: bytes, first: int = 0xD0) -> bytes:
    checks = hashlib.sha256(old).digest()[:4] + hashlib.sha256(new).digest()[:4]
    return bytes((first,)) + uvarint(len(old)) + zigzag(len(new) - len(old)) + checks


def operations(old: bytes, new: bytes) -> bytes:
    control, difference, extra = bsdiff4.core.diff(old, new)
    numbers = [bsdiff4.core.decode_int64(control[at : at + 8]) for at in range(0, len(control), 8)]
    out = b""
    diff_at = extra_at = done = 0
    while done < len(new):
        x, y, z = numbers[:3]
        del numbers[:3]
        # A triple that makes nothing only moves; after the first it belongs to the one before.
        while numbers[:2] == [0, 0]:
            z += numbers[2]
            del numbers[:3]
        done += x + y
        part = difference[diff_at : diff_at + x]
        out += uvarint(x) + uvarint(y) + zigzag(z if done < len(new) else 0)
        at = 0
        while at < x:
            end = at
            while end < x and part[end] == 0:
                end += 1
            out += uvarint(end - at) + part[end : end + 1]
            at = end + 1
        out += extra[extra_at : extra_at + y]
        diff_at += x
        extra_at += y
    return out


def patches() -> list[dict]:
    rng = random.Random(4)
    text = (b"the tide lets water out and never back in; " * 60)[:2000]
    noise = rng.randbytes(1500)
    edited = bytearray(noise)
    for at in range(0, 1500, 97):
        edited[at] ^= 1 + at % 255
    moved = noise[900:] + noise[:600] + b"between" + noise[300:900]
    near = bytes(edited[:700]) + b"inserted text" + bytes(edited[700:1200]) + rng.randbytes(60) + bytes(edited[1180:])
    entries = []
    for why, old, new in (
        ("nothing changed", noise, noise),
        ("one byte", b"a", b"b"),
        ("to nothing", b"abc", b""),
        ("from nothing", b"", b"everything is new"),
        ("nothing at all", b"", b""),
        ("single bytes changed", noise, bytes(edited)),
        ("parts moved", noise, moved),
        ("starts elsewhere", noise, noise[700:1400]),
        ("inserted, deleted, changed", noise, near),
        ("text to noise", text, noise),
        ("noise to text", noise, text),
        ("cut short", noise, noise[:701]),
        ("first and last byte", noise, b"\0" + noise[1:-1] + b"\0"),
    ):
        body = operations(old, new)
        patch = patch_header(old, new) + deflate(body)
        entries.append({"why": why, "old": old.hex(), "new": new.hex(), "patch": patch.hex()})
    entries += broken(noise[:64])
    return entries


def broken(old: bytes) -> list[dict]:
    """Patches whose deflate data is sound but whose operations are not; "new_size" is what they claim to make."""
    entries = []

    def put(why: str, ops: bytes, new_size: int, tail: bytes = b"") -> None:
        patch = patch_header(old, bytes(new_size)) + deflate(ops) + tail
        entries.append({"why": why, "old": old.hex(), "patch": patch.hex(), "new_size": new_size})

    def op(x: int, y: int, z: int) -> bytes:
        return uvarint(x) + uvarint(y) + zigzag(z)

    whole = op(64, 0, 0) + uvarint(64)
    put("copies past the old image", op(65, 0, 0) + uvarint(65), 65)
    put("copies past the old image after a move", op(1, 0, 60) + uvarint(1) + op(10, 0, 0) + uvarint(10), 11)
    put("copy far larger than the new image", op(2**32 - 1, 0, 0), 64)
    put("literals far larger than the new image", op(0, 2**32 - 1, 0), 64)
    put("copy and literals together larger than the new image", op(40, 40, 0) + uvarint(40) + bytes(40), 64)
    put("a run longer than its copy", op(10, 54, 0) + uvarint(11) + bytes(54), 64)
    put("a run of 2**32 - 1", op(10, 54, 0) + uvarint(2**32 - 1) + bytes(54), 64)
    put("moves before the old image", op(1, 0, -2) + uvarint(1) + op(63, 0, 0) + uvarint(63), 64)
    put("moves past the old image", op(1, 0, 64) + uvarint(1) + op(0, 63, 0) + bytes(63), 64)
    put("moves after its end", op(32, 32, -1) + uvarint(32) + bytes(32), 64)
    put("moves twice in a row", op(0, 0, 1) + op(0, 0, -1) + whole, 64)
    put("moves between", op(32, 0, 0) + uvarint(32) + op(0, 0, -32) + op(32, 0, 0) + uvarint(32), 64)
    put("moves for ever", op(0, 0, 1) * 20000, 64)
    put("operations end early", op(64, 0, 0) + uvarint(3) + b"\1", 64)
    put("literals end early", op(0, 64, 0) + bytes(63), 64)
    put("no operations", b"", 64)
    put("operations left over", whole + op(0, 0, 0), 64)
    put("one byte left over", whole + b"\0", 64)
    put("bytes after the deflate data", whole, 64, b"\0")
    put("a number of six bytes", b"\x80\x80\x80\x80\x80\x01", 64)
    put("a number of 2**32", b"\x80\x80\x80\x80\x10", 64)
    put("a number not in its shortest form", b"\xc0\x00\x00\x00" + uvarint(64), 64)
    put("a changed byte missing", op(64, 0, 0) + uvarint(63), 64)
    return entries


# ---------------------------------------------------------------- files


def write_lines(name: str, entries: list[dict]) -> None:
    lines = ",\n".join(json.dumps(entry) for entry in entries)
    (HERE / name).write_text(f"[\n{lines}\n]\n")
    print(f"{name}: {len(entries)} entries")


def write_table() -> None:
    table = comb_table()
    rows = (table[at : at + 16] for at in range(0, len(table), 16))
    text = "\n".join('    b"' + "".join(f"\\x{byte:02x}" for byte in row) + '"' for row in rows)
    (LIB / "ed25519" / "base_table.py").write_text(
        '"""The comb table of the Ed25519 base point, as ed25519.precompute makes one of a key.\n\n'
        "Written by tests/vectors/make_device_vectors.py; as bytes it stays in flash.\n"
        f'"""\n\nTABLE = (\n{text}\n)\n'
    )


if __name__ == "__main__":
    write_lines("ed25519.json", Signatures().all())
    write_lines("ed25519_edges.json", edges())
    write_lines("cose.json", cose_messages())
    write_lines("patches.json", patches())
    write_table()
