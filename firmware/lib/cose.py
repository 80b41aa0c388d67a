"""COSE_Sign1 and COSE_Sign (RFC 9052 section 4): decoding and verification, with Ed25519 (alg -19,
RFC 9864). A Sign1 has one signer, a Sign has several over one payload.

    message = cose.decode_sign1(data)
    if not cose.verify_sign1(message, keys[message.kid]):
        raise ValueError("not signed by this key")

A decoded message is not yet trusted: look up a key (`kid` is only a hint), then call
`verify_sign1` or `verify_signer`.
"""

from hashlib import sha256

import cbor
import ed25519

try:
    from micropython import const
except ImportError:

    def const(value):
        return value


__version__ = "0.2.0"

TAG = const(18)
TAG_SIGN = const(98)
ED25519 = const(-19)  # algorithm
# Header labels, RFC 9052 section 3.1 and RFC 9596.
ALG = const(1)
CRIT = const(2)
KID = const(4)
TYP = const(16)
SIGNATURE_SIZE = const(64)  # of Ed25519 and, on P-256, of ECDSA
_MAX_SIZE = const(2048)
_MAX_HEADERS = const(256)  # bytes of protected header; ours has 4 to 8
_KEY_ID_SIZE = const(8)
_ED25519_HEADER = b"\xa1\x01\x32"  # {1: -19}
_KID_HEAD = b"\xa1\x04\x48"  # of {4: 8 bytes}


class CoseError(ValueError):
    """Not a COSE_Sign1 or COSE_Sign of the profile that is accepted here."""


class Sign1:
    """A message of one signer. protected: the header's bytes as received; headers: the same
    decoded, a dict; unprotected: a dict; payload: bytes, None if it is detached; signature: 64
    bytes.
    """

    def __init__(self, protected, headers, unprotected, payload, signature):
        self.protected = protected
        self.headers = headers
        self.unprotected = unprotected
        self.payload = payload
        self.signature = signature

    @property
    def kid(self):
        """The key id, from whichever header has it, or None."""
        return self.unprotected.get(KID, self.headers.get(KID))


class Sign:
    """A message of several signers. protected, headers: as in Sign1; payload: bytes; signers: a
    list of Signer.
    """

    def __init__(self, protected, headers, payload, signers):
        self.protected = protected
        self.headers = headers
        self.payload = payload
        self.signers = signers


class Signer:
    """One signature of a Sign: protected (bytes), kid (bytes), signature (64 bytes)."""

    def __init__(self, protected, kid, signature):
        self.protected = protected
        self.kid = kid
        self.signature = signature


def decode_sign1(buf, tagged=True, max_size=_MAX_SIZE):
    """The Sign1 that buf (bytes-like) holds, with tag 18 or (tagged=False) without. Raises
    CoseError, also for a critical header (none is known here), an algorithm outside the
    protected header and a label in both headers.
    """
    try:
        item = cbor.loads(buf, max_size)
        if tagged:
            if not isinstance(item, cbor.Tag) or item.tag != TAG:
                raise CoseError("not a tagged COSE_Sign1")
            item = item.value
        if not isinstance(item, list) or len(item) != 4:
            raise CoseError("a COSE_Sign1 is an array of 4")
        protected, unprotected, payload, signature = item
        if not isinstance(protected, bytes) or not isinstance(unprotected, dict):
            raise CoseError("COSE headers of the wrong type")
        # An empty protected header is the empty string, never an empty map (RFC 9052 section 3).
        headers = cbor.loads(protected, _MAX_HEADERS) if protected else {}
    except cbor.CborError as error:
        raise CoseError("not a COSE_Sign1: %s" % error)
    if not isinstance(headers, dict) or (protected and not headers):
        raise CoseError("COSE headers of the wrong type")
    for label in unprotected:
        if label in headers or label in (ALG, CRIT):
            raise CoseError("COSE header %r is not allowed there" % (label,))
    if CRIT in headers:
        raise CoseError("a critical COSE header that is not known")
    if not isinstance(unprotected.get(KID, headers.get(KID, b"")), bytes):
        raise CoseError("a COSE key id is bytes")
    if payload is not None and not isinstance(payload, bytes):
        raise CoseError("a COSE payload is bytes or nil")
    if not isinstance(signature, bytes) or len(signature) != SIGNATURE_SIZE:
        raise CoseError("a COSE signature of other than %d bytes" % SIGNATURE_SIZE)
    return Sign1(protected, headers, unprotected, payload, signature)


def decode_sign(buf, max_signers, max_size=_MAX_SIZE):
    """The Sign with tag 98 that buf (bytes-like) holds, of 1 to max_signers signers. Raises
    CoseError.

    Stricter than decode_sign1: the payload is inside, nothing is unprotected but each signer's
    key id, and each signer's protected header is the algorithm Ed25519 alone.
    """
    try:
        item = cbor.loads(buf, max_size)
        if not isinstance(item, cbor.Tag) or item.tag != TAG_SIGN:
            raise CoseError("not a tagged COSE_Sign")
        item = item.value
        if not isinstance(item, list) or len(item) != 4:
            raise CoseError("a COSE_Sign is an array of 4")
        protected, unprotected, payload, signers = item
        if not isinstance(protected, bytes) or not isinstance(payload, bytes):
            raise CoseError("a COSE_Sign has a protected header and a payload of bytes")
        headers = cbor.loads(protected, _MAX_HEADERS)
    except cbor.CborError as error:
        raise CoseError("not a COSE_Sign: %s" % error)
    if not isinstance(headers, dict) or not headers or unprotected != {}:
        raise CoseError("COSE headers of the wrong type")
    if CRIT in headers:
        raise CoseError("a critical COSE header that is not known")
    if not isinstance(signers, list) or not 1 <= len(signers) <= max_signers:
        raise CoseError("a COSE_Sign has 1 to %d signers here" % max_signers)
    return Sign(protected, headers, payload, [_signer(entry) for entry in signers])


def _signer(entry):
    if not isinstance(entry, list) or len(entry) != 3:
        raise CoseError("a COSE_Signature is an array of 3")
    protected, unprotected, signature = entry
    if protected != _ED25519_HEADER:
        raise CoseError("a signer with another protected header than Ed25519")
    kid = key_id_alone(unprotected)
    if not isinstance(signature, bytes) or len(signature) != SIGNATURE_SIZE:
        raise CoseError("a COSE signature of other than %d bytes" % SIGNATURE_SIZE)
    return Signer(protected, kid, signature)


def key_id_alone(unprotected):
    """The 8 bytes of a key id that are all there is in an unprotected header; else CoseError. The
    signature does not cover this header, so whoever passes a message on could add to it.
    """
    kid = unprotected.get(KID) if isinstance(unprotected, dict) else None
    if not isinstance(kid, bytes) or cbor.dumps(unprotected) != _KID_HEAD + kid:
        raise CoseError("a signer is named by its key id alone")
    return kid


def verify_signer(sign, signer, public_key, verify=ed25519.verify):
    """Whether this signer's signature is the key's over the Sign's payload."""
    message = cbor.dumps(("Signature", sign.protected, signer.protected, b"", sign.payload))
    return verify(public_key, message, signer.signature)


def to_be_signed(protected, payload, external=b""):
    """The bytes that a Sign1's signature covers: the Sig_structure of RFC 9052 section 4.4."""
    return cbor.dumps(("Signature1", protected, external, payload))


def verify_sign1(
    sign1, public_key, payload=None, verify=ed25519.verify, alg=ED25519, external=b""
):
    """Whether the signature is the key's, with algorithm `alg`, over the message's own payload,
    or over `payload` where it is detached. verify(public_key, message, signature) does the
    arithmetic, such as ed25519.verify_precomputed, whose public_key is a table of
    ed25519.precompute.
    """
    if sign1.headers.get(ALG) != alg:
        return False
    # Exactly one of the two: a payload handed in must not stand in for another one that came
    # inside.
    if (payload is None) == (sign1.payload is None):
        return False
    message = to_be_signed(
        sign1.protected, sign1.payload if payload is None else payload, external
    )
    return verify(public_key, message, sign1.signature)


def key_id(public_key):
    """The first 8 bytes of an Ed25519 key's COSE thumbprint (RFC 9679)."""
    return sha256(cbor.dumps({1: 1, -1: 6, -2: public_key})).digest()[:_KEY_ID_SIZE]
