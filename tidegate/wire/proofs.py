"""What a device signs with its own key: that a boot's nonce is its own, and what it answered (docs/wire.cddl).

A proof carries the key it is made with. It proves something to those who know that this key is the device's: an id
that is the key's thumbprint says it by itself, for any other somebody must have kept the key (`tidegate.fleet.known`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tidegate import names
from tidegate.errors import Refused
from tidegate.wire import cbor, cose

MAX_SIZE = 512  # bytes of a proof
PROTOCOL = 1
NONCE, HARDWARE, DIGEST, THUMBPRINT = 8, 8, 32, 16
_BIRTH = "application/vnd.tidegate.birth+cbor"
_RESULT = "application/vnd.tidegate.result+cbor"
_RESULT_PROOF = 7  # key in a result


@dataclass(frozen=True)
class BirthProof:
    """Device `device` with the key `public` (32 bytes) made `nonce` in its present boot. hardware: its fingerprint."""

    public: bytes
    device: str
    nonce: bytes
    hardware: bytes


@dataclass(frozen=True)
class ResultProof:
    """Device `device` answered so in the boot with this nonce. command, answer, output: SHA-256 of the signed command,
    of the result without its proof, and of all text that came before it (None: there was none)."""

    public: bytes
    device: str
    nonce: bytes
    command: bytes
    answer: bytes
    output: bytes | None = None


def thumbprint(public: bytes) -> str:
    """Half of a key's thumbprint, in hex: the id of the device that made this key at its enrolment."""
    return hashlib.sha256(cbor.dumps(cose.cose_key(public))).hexdigest()[: 2 * THUMBPRINT]


def is_thumbprint(device: str) -> bool:
    """Whether an id has the form of those that devices have by their keys."""
    return len(device) == 2 * THUMBPRINT and not set(device) - set("0123456789abcdef")


def encode_birth(proof: BirthProof, seed: bytes) -> bytes:
    """Sign as a board does, with its 32-byte private seed."""
    facts = {3: proof.device, 4: proof.nonce, 5: proof.hardware}
    return _sign(_BIRTH, proof.public, facts, seed)


def encode_result(proof: ResultProof, seed: bytes) -> bytes:
    """Sign as a board does, with its 32-byte private seed."""
    facts: dict[int, Any] = {3: proof.device, 4: proof.nonce, 6: proof.command, 7: proof.answer}
    if proof.output is not None:
        facts[8] = proof.output
    return _sign(_RESULT, proof.public, facts, seed)


def open_birth(data: bytes) -> BirthProof:
    """The proof in `data`, its signature verified by the key it carries; else Refused."""
    found = _open(data, _BIRTH, "birth's proof", {4: NONCE, 5: HARDWARE}, {})
    return BirthProof(found[2], found[3], found[4], found[5])


def open_result(data: bytes) -> ResultProof:
    """The proof in `data`, its signature verified by the key it carries; else Refused."""
    found = _open(data, _RESULT, "result's proof", {4: NONCE, 6: DIGEST, 7: DIGEST}, {8: DIGEST})
    return ResultProof(found[2], found[3], found[4], found[6], found[7], found.get(8))


def split_result(message: bytes) -> tuple[bytes | None, bytes]:
    """(the proof in a result as it was sent, the SHA-256 that such a proof has of the rest)."""
    found = cbor.loads(message, "result", max_size=4096)
    if not isinstance(found, dict):
        raise Refused("malformed", "the result is not a map")
    proof = found.pop(_RESULT_PROOF, None)
    if proof is not None and not isinstance(proof, bytes):
        raise Refused("malformed", "the result's proof is not a byte string")
    return proof, hashlib.sha256(cbor.dumps(found)).digest()


def _sign(kind: str, public: bytes, facts: dict[int, Any], seed: bytes) -> bytes:
    payload = cbor.dumps({1: PROTOCOL, 2: cose.cose_key(public), **facts})
    return cose.sign1(seed, payload, headers={cose.HEADER_TYP: kind})


def _open(data: bytes, kind: str, what: str, sizes: Mapping[int, int], optional: Mapping[int, int]) -> dict[int, Any]:
    """The facts, with the public key's 32 bytes as number 2."""
    message = cose.decode_sign1(data, what, max_size=MAX_SIZE)
    if message.headers != {cose.HEADER_ALG: cose.ALG_ED25519, cose.HEADER_TYP: kind}:
        raise Refused("typ", f"the {what} is not typed as one")
    found = cbor.loads(message.payload or b"", what, max_size=MAX_SIZE)
    must = {1, 2, 3, *sizes}
    if not isinstance(found, dict) or not must <= set(found) <= must | set(optional):
        raise _bad(what, "does not say what it must, and nothing else")
    if found[1] is True or found[1] != PROTOCOL:
        raise _bad(what, "is of another version of this protocol")
    public = found[2].get(-2) if isinstance(found[2], dict) else None
    if not isinstance(public, bytes) or len(public) != 32 or cbor.dumps(found[2]) != cbor.dumps(cose.cose_key(public)):
        raise _bad(what, "does not show an Ed25519 key")
    if not names.DEVICE_ID.fits(found[3]):
        raise _bad(what, f"is not by a device: {names.DEVICE_ID.refusal(found[3])}")
    for label, size in {**sizes, **optional}.items():
        if label in found and (not isinstance(found[label], bytes) or len(found[label]) != size):
            raise _bad(what, f"must have {size} bytes as number {label}")
    if message.kid != cose.key_id(public):
        raise _bad(what, "names another key than it shows")
    if not cose.verify_sign1(message, public):
        raise Refused("signature", f"the {what} is not signed by the key it shows")
    if is_thumbprint(found[3]) and found[3] != thumbprint(public):
        raise Refused("other-key", f"the {what} is by another key than {found[3]} has")
    return {**found, 2: public}


def _bad(what: str, why: str) -> Refused:
    return Refused("malformed", f"the {what} {why}")
