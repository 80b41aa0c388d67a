#!/usr/bin/env python3
"""Writes enrolment.json: claims, what a board asks with one and what it is answered (docs/wire.cddl), by hashes,
PyNaCl's signatures and cbor2's canonical encoding alone.

python tests/vectors/make_enrolment_vectors.py            write it
python tests/vectors/make_enrolment_vectors.py --check    exit code 1 if the file is not what this would write
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import sys
from pathlib import Path
from typing import Any

import cbor2
import nacl.signing

FILE = Path(__file__).resolve().parent / "enrolment.json"
ASKS, TELLS = "application/vnd.tidegate.enrol+cbor", "application/vnd.tidegate.enrolled+cbor"
BOARD, PRODUCT = "qemu_mps2", "tidegate-gateway"


def made(what: str) -> bytes:
    return hashlib.sha256(b"tidegate test secret, worth nothing: " + what.encode()).digest()


STORE = b"any bytes stand for a trust store here"
ID, SECRET = made("id")[:8], made("claim 11")
SEED, UNIQUE_ID, NONCE, SALT = made("board"), bytes.fromhex("020000746907"), made("nonce")[:16], made("salt")[:16]
TRUST = hashlib.sha256(STORE).digest()[:16]
KEY = {1: 1, -1: 6, -2: bytes(nacl.signing.SigningKey(SEED).verify_key)}


def dumps(value: Any) -> bytes:
    return cbor2.dumps(value, canonical=True)


def mac(key: bytes, text: bytes) -> bytes:
    return hmac.new(key, text, hashlib.sha256).digest()


def mac0(kind: str, unprotected: dict[int, Any], payload: bytes, secret: bytes = SECRET, algorithm: int = 5) -> bytes:
    protected = dumps({1: algorithm, 16: kind})
    tag = mac(secret, dumps(["MAC0", protected, b"", payload]))
    return dumps(cbor2.CBORTag(17, [protected, unprotected, payload, tag]))


def text(secret: bytes = SECRET, device: str = "") -> str:
    claim = f"tgc1_{ID.hex()}_{base64.urlsafe_b64encode(secret).decode().rstrip('=')}_{TRUST.hex()}"
    return f"{claim}_{device}" if device else claim


def facts(**changed: Any) -> dict[int, Any]:
    hardware = hashlib.sha256(b"tidegate hw" + UNIQUE_ID).digest()[:8]
    out = {1: 1, 2: KEY, 3: ID, 4: BOARD, 5: PRODUCT, 6: hardware, 7: NONCE}
    out |= {int(label[1:]): value for label, value in changed.items()}
    return {label: value for label, value in out.items() if value is not None}


def proof(payload: bytes, kind: str = ASKS, seed: bytes = SEED, kid: bytes | None = None) -> bytes:
    protected = dumps({1: -19, 16: kind})
    signature = nacl.signing.SigningKey(seed).sign(dumps(["Signature1", protected, b"", payload])).signature
    named = {4: kid or hashlib.sha256(dumps(KEY)).digest()[:8]}
    return dumps(cbor2.CBORTag(18, [protected, named, payload, signature]))


def request(inner: bytes, claim_id: bytes = ID, **other: Any) -> bytes:
    return mac0(other.pop("kind", ASKS), {4: claim_id}, inner, **other)


def requests() -> list[dict[str, Any]]:
    good = proof(dumps(facts(_8=TRUST)))
    device = hashlib.sha256(dumps(KEY)).hexdigest()[:32]
    about = {
        "claim": text(), "seed": SEED.hex(), "unique_id": UNIQUE_ID.hex(), "nonce": NONCE.hex(),
        "board": BOARD, "product": PRODUCT, "device": device,
    }  # fmt: skip
    out: list[dict[str, Any]] = [
        {"kind": "request", "name": "without a trust store", "wants": True, **about, "request": request(good).hex()},
        {
            "kind": "request",
            "name": "with one",
            "wants": False,
            **about,
            "request": request(proof(dumps(facts()))).hex(),
        },
    ]
    other = made("another board")
    flipped = bytearray(request(good))
    flipped[-1] ^= 1
    for name, reason, data in (
        ("another secret", "mac", request(good, secret=made("another"))),
        ("a bit of the MAC", "mac", bytes(flipped)),
        ("typed as an answer", "malformed", request(good, kind=TELLS)),
        ("a MAC of another algorithm", "malformed", request(good, algorithm=6)),
        ("another claim inside", "malformed", request(proof(dumps(facts(_3=bytes(8)))))),
        ("signed by another key", "signature", request(proof(dumps(facts()), seed=other))),
        ("another key is named", "malformed", request(proof(dumps(facts()), kid=bytes(8)))),
        ("typed as a command", "malformed", request(proof(dumps(facts()), kind="application/cwt"))),
        ("no nonce", "malformed", request(proof(dumps(facts(_7=None))))),
        ("a label more", "malformed", request(proof(dumps(facts(_9=1))))),
        ("another version", "malformed", request(proof(dumps(facts(_1=2))))),
        ("a version that is true", "malformed", request(proof(dumps(facts(_1=True))))),
        ("a private key", "malformed", request(proof(dumps(facts(_2={**KEY, -4: bytes(32)}))))),
        ("a board with a space", "malformed", request(proof(dumps(facts(_4="a board"))))),
        ("a product of 65 letters", "malformed", request(proof(dumps(facts(_5="p" * 65))))),
        ("a hardware print of 7 bytes", "malformed", request(proof(dumps(facts(_6=bytes(7)))))),
        ("a trust print of 32 bytes", "malformed", request(proof(dumps(facts(_8=bytes(32)))))),
        ("no proof", "malformed", request(b"")),
        ("one byte more", "malformed", request(good) + b"\0"),
        ("cut off", "malformed", request(good)[:-1]),
    ):
        out.append({"kind": "bad-request", "name": name, "claim": text(), "reason": reason, "request": data.hex()})
    return out


def answers() -> list[dict[str, Any]]:
    told: dict[int, Any] = {1: "gate-7", 2: SALT, 3: NONCE, 4: "pumps"}
    whole = {**told, 5: STORE, 6: "Pump.7"}
    out: list[dict[str, Any]] = []

    def put(name: str, wants: bool, data: bytes, value: dict[int, Any] | None = None, device: str = "gate-7") -> None:
        """`device`: whom the claim names, without whom a board takes the thumbprint of its key alone."""
        entry = {
            "kind": "answer", "name": name, "claim": text(device=device), "nonce": NONCE.hex(), "wants": wants,
            "answer": data.hex(),
        }  # fmt: skip
        if value:
            entry["value"] = {"device": value[1], "salt": value[2].hex(), "group": value[4]}
            entry["value"]["trust"] = value[5].hex() if wants else None
        out.append(entry)

    def answer(value: Any, **other: Any) -> bytes:
        return mac0(other.pop("kind", TELLS), other.pop("unprotected", {}), dumps(value), **other)

    put("all of it", True, answer(whole), whole)
    put("no trust store is wanted", False, answer(told), told)
    put("a trust store that is not wanted", False, answer(whole), told)
    own = hashlib.sha256(dumps(KEY)).hexdigest()[:32]
    put("an id that the claim names, and 32 digits long", True, answer({**whole, 1: own}), {**whole, 1: own}, own)
    put("an id, and no claim names it", True, answer(whole), device="")
    put("an id of 32 digits, and no claim names it", True, answer({**whole, 1: "0" * 32}), device="")
    put("the id of another than the claim names", True, answer({**whole, 1: "gate-8"}))
    put("an id of its own, and the claim names another", True, answer({**whole, 1: own}))
    put("an open header that is 0", True, answer(whole, unprotected=0))
    put("an open header that is an array", True, answer(whole, unprotected=[]))
    put("no trust store", True, answer(told))
    put("another trust store", True, answer({**whole, 5: STORE + b"."}))
    put("a trust store that is text", True, answer({**whole, 5: "text"}))
    put("another secret", True, answer(whole, secret=made("another")))
    put("typed as a request", True, answer(whole, kind=ASKS))
    put("a MAC of another algorithm", True, answer(whole, algorithm=4))
    put("an open header", True, answer(whole, unprotected={4: ID}))
    put("to another request", True, answer({**whole, 3: bytes(16)}))
    put("without a nonce", True, answer({label: item for label, item in whole.items() if label != 3}))
    put("a device that is a path", True, answer({**whole, 1: "../key"}))
    put("a device of 33 letters", True, answer({**whole, 1: "d" * 33}))
    put("no device", True, answer({**whole, 1: ""}))
    put("a salt of 8 bytes", True, answer({**whole, 2: bytes(8)}))
    put("a salt that is text", True, answer({**whole, 2: "s" * 16}))
    put("a group that is a number", True, answer({**whole, 4: 7}))
    put("an array", True, answer([1, 2, 3]))
    put("a number", True, dumps(7))
    put("an untagged array", True, dumps(cbor2.loads(answer(whole)).value))
    put("one byte more", True, answer(whole) + b"\0")
    put("cut off", True, answer(whole)[:-1])
    put("nothing", True, b"")
    return out


def document() -> str:
    entries: list[dict[str, Any]] = [
        {"kind": "claim", "text": text(), "id": ID.hex(), "secret": SECRET.hex(), "trust": TRUST.hex()},
        {
            "kind": "claim", "text": text(device="gate-7"), "id": ID.hex(), "secret": SECRET.hex(),
            "trust": TRUST.hex(), "device": "gate-7",
        },
        {
            "kind": "credentials", "claim": text(), "salt": SALT.hex(),
            "password": mac(SECRET, b"tidegate mqtt password 1" + SALT)[:24].hex(),
            "coap_key": mac(SECRET, b"tidegate coap key 1" + SALT).hex(),
        },
        *requests(),
        *answers(),
    ]  # fmt: skip
    return "[\n" + ",\n".join(json.dumps(entry) for entry in entries) + "\n]\n"


def main() -> int:
    if "--check" not in sys.argv:
        FILE.write_text(document())
        return 0
    if FILE.read_text() == document():
        return 0
    print(f"{FILE.name} is not what this writes; run it without --check", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
