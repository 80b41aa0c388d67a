"""COSE_Sign1, and COSE_Sign for several signers, with Ed25519 (RFC 9052, RFC 9864).

Only algorithm -19 is made or accepted. The key id is the first 8 bytes of the COSE key's thumbprint
(RFC 9679) and travels in the unprotected header: it is a hint for the lookup, the signature decides.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import nacl.exceptions
import nacl.signing
from cbor2 import CBORTag

from tidegate.errors import Refused
from tidegate.wire import cbor

TAG_SIGN1, TAG_SIGN = 18, 98
ALG_ED25519 = -19
HEADER_ALG, HEADER_CRIT, HEADER_KID, HEADER_TYP = 1, 2, 4, 16
KID_SIZE = 8
SIGNATURE_SIZE = 64
_SIGNER_PROTECTED = cbor.dumps({HEADER_ALG: ALG_ED25519})


def cose_key(public: bytes) -> dict[int, Any]:
    """The COSE_Key map of a raw 32-byte Ed25519 public key: kty OKP, crv Ed25519, x."""
    return {1: 1, -1: 6, -2: public}


def key_id(public: bytes) -> bytes:
    """The 8-byte key id of a raw public key."""
    return hashlib.sha256(cbor.dumps(cose_key(public))).digest()[:KID_SIZE]


class Signer(NamedTuple):
    """A signer: its raw public key, and a function that makes its signatures of 64 bytes."""

    public: bytes
    sign: Callable[[bytes], bytes]


def signer_of(private: bytes | Signer) -> Signer:
    """The signer with this 32-byte private seed, unless it is one already."""
    if isinstance(private, Signer):
        return private
    key = nacl.signing.SigningKey(private)
    return Signer(bytes(key.verify_key), lambda message: key.sign(message).signature)


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

    def one(self, payload: bytes | None = None) -> Signature:
        """Its one signature; `payload` is given for a detached one."""
        body = self.payload if payload is None else payload
        return Signature(self.kid, to_be_signed(self.protected, body or b""), self.signature)


@dataclass(frozen=True)
class Signature:
    """One signature, of whatever message: the key it names, the bytes it is over, and itself."""

    kid: bytes
    signed: bytes
    signature: bytes

    def by(self, public: bytes) -> bool:
        """Whether the holder of this public key made it."""
        try:
            nacl.signing.VerifyKey(public).verify(self.signed, self.signature)
        except (nacl.exceptions.BadSignatureError, nacl.exceptions.ValueError, ValueError):
            return False
        return True


@dataclass(frozen=True)
class Sign:
    """A decoded COSE_Sign: several signers over one payload. `protected` are the body's bytes as received."""

    protected: bytes
    headers: dict[Any, Any]
    payload: bytes
    signatures: tuple[Signature, ...]


def sign1(
    private: bytes | Signer, payload: bytes, *, detached: bool = False, headers: dict[int, Any] | None = None
) -> bytes:
    """Sign `payload` with a 32-byte private seed or by a Signer; `headers` are protected ones beside the algorithm.

    Returns the tagged COSE_Sign1; with `detached` it carries nil instead of the payload.
    """
    signer = signer_of(private)
    protected = cbor.dumps({HEADER_ALG: ALG_ED25519, **(headers or {})})
    signature = signer.sign(to_be_signed(protected, payload))
    unprotected = {HEADER_KID: key_id(signer.public)}
    body = [protected, unprotected, None if detached else payload, signature]
    return cbor.dumps(CBORTag(TAG_SIGN1, body))


def sign(
    privates: Sequence[bytes | Signer], payload: bytes, headers: dict[int, Any], others: Sequence[Signature] = ()
) -> bytes:
    """A tagged COSE_Sign of `payload` by the 32-byte private seeds or Signers, after the signatures of `others`."""
    body = cbor.dumps(headers)
    signers = [_signer(other.kid, other.signature) for other in others]
    for signer in map(signer_of, privates):
        signers.append(_signer(key_id(signer.public), signer.sign(_sign_structure(body, payload))))
    return cbor.dumps(CBORTag(TAG_SIGN, [body, {}, payload, signers]))


def decode_sign(data: bytes, what: str, *, most: int, least: int = 1, max_size: int = 4096) -> Sign:
    """Decode a tagged COSE_Sign with `least` to `most` signers strictly; Refused says what does not fit."""
    value = cbor.loads(data, what, max_size=max_size, tags=frozenset({TAG_SIGN}))
    if not isinstance(value, CBORTag) or not isinstance(value.value, list) or len(value.value) != 4:
        raise _refuse(what, "is not a tagged COSE_Sign of four parts")
    protected, unprotected, payload, signers = value.value
    if not isinstance(protected, bytes) or unprotected != {} or not isinstance(payload, bytes):
        raise _refuse(what, "must have a protected header, no other, and its payload inside")
    headers = cbor.loads(protected, f"{what}'s protected header")
    if not isinstance(headers, dict) or not headers or HEADER_CRIT in headers:
        raise _refuse(what, "has a protected header that is not known here")
    if not isinstance(signers, list) or not least <= len(signers) <= most:
        raise _refuse(what, f"must have {least} to {most} signatures")
    signed = _sign_structure(protected, payload)
    return Sign(protected, headers, payload, tuple(_signature(entry, signed, what) for entry in signers))


def _signature(entry: Any, signed: bytes, what: str) -> Signature:
    if not isinstance(entry, list) or len(entry) != 3 or not isinstance(entry[1], dict):
        raise _refuse(what, "has a signature that is not one of a COSE_Sign")
    kid, signature = entry[1].get(HEADER_KID), entry[2]
    if not isinstance(kid, bytes) or len(kid) != KID_SIZE:
        raise _refuse(what, f"must name each signer's key by {KID_SIZE} bytes")
    if not isinstance(signature, bytes) or len(signature) != SIGNATURE_SIZE:
        raise _refuse(what, f"must have signatures of {SIGNATURE_SIZE} bytes")
    if entry != _signer(kid, signature):
        raise _refuse(what, "has a signer's header with more than Ed25519 and a key id")
    return Signature(kid, signed, signature)


def _signer(kid: bytes, signature: bytes) -> list[Any]:
    return [_SIGNER_PROTECTED, {HEADER_KID: kid}, signature]


def _sign_structure(body: bytes, payload: bytes) -> bytes:
    """The Sig_structure of RFC 9052 section 4.4 for one of several signers."""
    return cbor.dumps(["Signature", body, _SIGNER_PROTECTED, b"", payload])


def to_be_signed(protected: bytes, payload: bytes, external: bytes = b"") -> bytes:
    """The Sig_structure of RFC 9052 section 4.4 for one signer."""
    return cbor.dumps(["Signature1", protected, external, payload])


def decode_sign1(data: bytes, what: str, *, detached: bool = False, max_size: int = 4096) -> Sign1:
    """Decode a tagged COSE_Sign1 strictly; Refused says what does not fit the profile."""
    value = cbor.loads(data, what, max_size=max_size, tags=frozenset({TAG_SIGN1}))
    if not isinstance(value, CBORTag) or not isinstance(value.value, list) or len(value.value) != 4:
        raise _refuse(what, "is not a tagged COSE_Sign1 of four parts")
    protected, unprotected, payload, signature = value.value
    if not isinstance(protected, bytes) or not isinstance(unprotected, dict):
        raise _refuse(what, "has headers of the wrong type")
    headers = cbor.loads(protected, f"{what}'s protected header")
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
    if payload is None and message.payload is None:
        return False
    return message.one(payload).by(public)


def _refuse(what: str, why: str) -> Refused:
    return Refused("malformed", f"the {what} {why}")
