"""COSE_Sign1 with Ed25519 (RFC 9052, RFC 9864): the one shape of signature Tidegate uses.

Only algorithm -19 is made or accepted. The key id is the first 8 bytes of the COSE key's thumbprint
(RFC 9679) and travels in the unprotected header: it is a hint for the lookup, the signature decides.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import nacl.exceptions
import nacl.signing
from cbor2 import CBORTag

from tidegate import cborstrict
from tidegate.errors import Refused

TAG_SIGN1 = 18
ALG_ED25519 = -19
HEADER_ALG, HEADER_CRIT, HEADER_KID, HEADER_TYP = 1, 2, 4, 16
KID_SIZE = 8
SIGNATURE_SIZE = 64


def cose_key(public: bytes) -> dict[int, Any]:
    """The COSE_Key map of a raw 32-byte Ed25519 public key: kty OKP, crv Ed25519, x."""
    return {1: 1, -1: 6, -2: public}


def key_id(public: bytes) -> bytes:
    """The 8-byte key id of a raw public key."""
    return hashlib.sha256(cborstrict.dumps(cose_key(public))).digest()[:KID_SIZE]


@dataclass(frozen=True)
class Sign1:
    """A decoded COSE_Sign1. `payload` is None when it is detached; `protected` are the bytes as received."""

    protected: bytes
    headers: dict[Any, Any]
    unprotected: dict[Any, Any]
    payload: bytes | None
    signature: bytes

    @property
    def kid(self) -> bytes:
        return self.unprotected[HEADER_KID]


def sign1(private: bytes, payload: bytes, *, detached: bool = False, headers: dict[int, Any] | None = None) -> bytes:
    """Sign `payload` with the 32-byte private seed; `headers` are protected headers beside the algorithm.

    Returns the tagged COSE_Sign1; with `detached` it carries nil in the payload's place.
    """
    signer = nacl.signing.SigningKey(private)
    protected = cborstrict.dumps({HEADER_ALG: ALG_ED25519, **(headers or {})})
    signature = signer.sign(to_be_signed(protected, payload)).signature
    unprotected = {HEADER_KID: key_id(bytes(signer.verify_key))}
    body = [protected, unprotected, None if detached else payload, signature]
    return cborstrict.dumps(CBORTag(TAG_SIGN1, body))


def to_be_signed(protected: bytes, payload: bytes, external: bytes = b"") -> bytes:
    """The Sig_structure of RFC 9052 section 4.4 for one signer."""
    return cborstrict.dumps(["Signature1", protected, external, payload])


def decode_sign1(data: bytes, what: str, *, detached: bool = False, max_size: int = 4096) -> Sign1:
    """Decode a tagged COSE_Sign1 strictly; Refused says what does not fit the profile."""
    value = cborstrict.loads(data, what, max_size=max_size, tags=frozenset({TAG_SIGN1}))
    if not isinstance(value, CBORTag) or not isinstance(value.value, list) or len(value.value) != 4:
        raise _refuse(what, "is not a tagged COSE_Sign1 of four parts")
    protected, unprotected, payload, signature = value.value
    if not isinstance(protected, bytes) or not isinstance(unprotected, dict):
        raise _refuse(what, "has headers of the wrong type")
    headers = cborstrict.loads(protected, f"{what}'s protected header")
    algorithm = headers.get(HEADER_ALG) if isinstance(headers, dict) else None
    if algorithm != ALG_ED25519 or not isinstance(algorithm, int):
        raise Refused("unsupported", f"the {what} is not signed with Ed25519 (COSE algorithm -19)")
    if HEADER_CRIT in headers:
        raise _refuse(what, "has a critical header, and none is known here")
    kid = unprotected.get(HEADER_KID)
    if set(unprotected) != {HEADER_KID} or not isinstance(kid, bytes) or len(kid) != KID_SIZE:
        raise _refuse(what, f"must name its key by {KID_SIZE} bytes and carry no other unprotected header")
    if payload is not None if detached else not isinstance(payload, bytes):
        raise _refuse(what, "must be detached" if detached else "carries no payload")
    if not isinstance(signature, bytes) or len(signature) != SIGNATURE_SIZE:
        raise _refuse(what, f"must have a signature of {SIGNATURE_SIZE} bytes")
    return Sign1(protected, headers, unprotected, payload, signature)


def verify_sign1(message: Sign1, public: bytes, payload: bytes | None = None) -> bool:
    """Whether `message` was signed by `public`; `payload` is given for a detached one."""
    body = message.payload if payload is None else payload
    if body is None:
        return False
    try:
        nacl.signing.VerifyKey(public).verify(to_be_signed(message.protected, body), message.signature)
    except (nacl.exceptions.BadSignatureError, nacl.exceptions.ValueError, ValueError):
        return False
    return True


def _refuse(what: str, why: str) -> Refused:
    return Refused("malformed", f"the {what} {why}")
