"""The update manifest in its SUIT envelope: sign one, open one, verify one as a device does.

Verification goes in the order that keeps unverified bytes away from code: size, strict decoding of the
wrapper, digest, signature, and only then anything inside the manifest (`tidegate.manifest.profile`). Two
traps of the draft are dealt with here: the digest covers the manifest with its byte-string head, and
the signed payload is the SUIT_Digest itself, wrapped once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from cbor2 import CBORTag

from tidegate.errors import Refused, TidegateError
from tidegate.manifest import profile
from tidegate.manifest.profile import MAX_SIZE, Manifest, decode
from tidegate.trust.keys import Key
from tidegate.trust.store import TrustStore
from tidegate.wire import cbor, cose

TAG_ENVELOPE = 107
MAX_SIGNATURES = 4


@dataclass(frozen=True)
class Envelope:
    """A decoded envelope whose manifest has not been looked into: `digest` is over the wrapped manifest."""

    digest: bytes
    signed: bytes
    signatures: tuple[cose.Sign1, ...]
    manifest: bytes


def sign(manifest: bytes, keys: Sequence[Key]) -> bytes:
    """The envelope of `manifest` (bytes from `encode`) with one signature a key; all must be release keys."""
    decode(manifest)
    return seal(manifest, keys)


def seal(manifest: bytes, keys: Sequence[Key]) -> bytes:
    """The envelope around a manifest of either profile that was just encoded."""
    if not 1 <= len({key.kid for key in keys}) == len(keys) <= MAX_SIGNATURES:
        raise TidegateError(f"a manifest takes 1 to {MAX_SIGNATURES} signatures, each by another key, not {len(keys)}")
    digest = profile.wrap_digest(manifest_digest(manifest))
    signatures = [cose.sign1(key.signer_for("release"), digest, detached=True) for key in keys]
    wrapper = cbor.dumps([digest, *signatures])
    envelope = cbor.dumps(CBORTag(TAG_ENVELOPE, {2: wrapper, 3: manifest}))
    if len(envelope) > MAX_SIZE:
        raise TidegateError(
            f"the manifest has {len(envelope)} bytes signed, at most {MAX_SIZE} fit a device",
            "Carry patches from fewer releases",
        )
    return envelope


def open_envelope(data: bytes) -> Envelope:
    """Decode the envelope around a manifest; checks the digest, not the signatures."""
    value = cbor.loads(data, "envelope", max_size=MAX_SIZE, tags=frozenset({TAG_ENVELOPE}))
    if not isinstance(value, CBORTag) or not isinstance(value.value, dict) or set(value.value) != {2, 3}:
        raise _bad("the envelope must be tag 107 on a map of an authentication wrapper and a manifest")
    wrapper, manifest = value.value[2], value.value[3]
    if not isinstance(wrapper, bytes) or not isinstance(manifest, bytes):
        raise _bad("the envelope's members must be byte strings")
    parts = cbor.loads(wrapper, "authentication wrapper", max_size=MAX_SIZE)
    if not isinstance(parts, list) or not 2 <= len(parts) <= 1 + MAX_SIGNATURES:
        raise _bad(f"the authentication wrapper must hold a digest and 1 to {MAX_SIGNATURES} signatures")
    if not all(isinstance(part, bytes) for part in parts):
        raise _bad("the parts of the authentication wrapper must be byte strings")
    digest = profile.read_digest(parts[0], "authentication wrapper")
    if digest != manifest_digest(manifest):
        raise Refused("signature", "the manifest was changed: its digest is not the signed one")
    signatures = tuple(
        cose.decode_sign1(part, "manifest signature", detached=True, max_size=MAX_SIZE) for part in parts[1:]
    )
    for signature in signatures:
        if set(signature.headers) != {cose.HEADER_ALG}:
            raise _bad("a manifest signature has protected headers beside the algorithm")
    return Envelope(digest, parts[0], signatures, manifest)


def verify(data: bytes, trust: TrustStore) -> Manifest:
    """The manifest in the envelope `data`, if enough release keys of `trust` signed it; else Refused.

    An envelope may carry signatures of the old and of the new key while keys rotate (TrustStore.quorum).
    """
    envelope = open_envelope(data)
    check_signatures(envelope, trust)
    return decode(envelope.manifest)


def check_signatures(envelope: Envelope, trust: TrustStore) -> None:
    """Refused unless enough release keys of `trust` signed the envelope."""
    trust.quorum("release", [one.one(envelope.signed) for one in envelope.signatures], "manifest")


def manifest_digest(manifest: bytes) -> bytes:
    return hashlib.sha256(cbor.dumps(manifest)).digest()  # with its byte-string head


def _bad(message: str) -> Refused:
    return Refused("malformed", message)
