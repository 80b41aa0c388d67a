"""Enrolment on the wire: the claim as text, a board's request and its answer (docs/enrolment.md).

A board shows two things at once: that it holds the claim's secret, by a MAC around all it says, and that it holds
the private key of the identity it asks for, by a signature inside. Neither secret travels. The answer is MACed too,
over the nonce of the question; broker password and CoAP key are derived from the claim's secret on both sides.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from dataclasses import dataclass, field
from typing import Any

from cbor2 import CBORTag

from tidegate import names
from tidegate.errors import Refused, TidegateError
from tidegate.trust import store as trust_store
from tidegate.wire import cbor, cose, proofs

MAX_REQUEST = 512  # bytes
MAX_ANSWER = 1536
MAX_FILE = 256  # bytes of a claim in a file
ID, SECRET, TRUST = 8, 32, 16  # bytes of a claim's parts
NONCE, SALT, HARDWARE, MAC = 16, 16, 8, 32
PROTOCOL = 1
TAG_MAC0 = 17
_HMAC_256 = 5  # COSE algorithm
_REQUEST = "application/vnd.tidegate.enrol+cbor"
_ANSWER = "application/vnd.tidegate.enrolled+cbor"
_FOR_MQTT = b"tidegate mqtt password 1"
_FOR_COAP = b"tidegate coap key 1"
_PASSWORD = 24  # bytes
_CLAIM = re.compile(rf"tgc1_([0-9a-f]{{16}})_([A-Za-z0-9_-]{{43}})_([0-9a-f]{{32}})(?:_({names.DEVICE_ID.pattern}))?\Z")
_OFFER = re.compile(r"tgc1_[0-9a-f]{16}_[A-Za-z0-9_-]{43}\Z")


@dataclass(frozen=True)
class Claim:
    """A claim, as it is put on a board. id: public; secret: proves it; trust: which trust store the board may take.

    device: the only id that the board may take; None: that of its own key. What the server answers decides neither.
    """

    id: bytes
    secret: bytes = field(repr=False)
    trust: bytes
    device: str | None = None

    @property
    def text(self) -> str:
        return f"{offered(self.id, self.secret)}_{self.trust.hex()}" + (f"_{self.device}" if self.device else "")


def offered(claim_id: bytes, secret: bytes) -> str:
    """A claim as the server hands it out, without the trust store."""
    return f"tgc1_{claim_id.hex()}_{base64.urlsafe_b64encode(secret).decode().rstrip('=')}"


def complete(offer: str, store: bytes, device: str | None = None) -> Claim:
    """The claim made of the server's part, the trust store that the operator chose, and the device that he named."""
    if not _OFFER.match(offer):
        raise TidegateError("the server's answer is not a claim", "Are server and client of one version?")
    trust_store.decode(store)
    claim = parse(f"{offer}_{trust_fingerprint(store).hex()}")
    return claim if device is None or proofs.is_thumbprint(device) else parse(f"{claim.text}_{device}")


def parse(text: str) -> Claim:
    """The claim in this text; TidegateError if it is not one."""
    found = _CLAIM.match(text.strip())
    if found is None:
        raise TidegateError(
            "this is not a claim", "A claim begins with tgc1_ and has 98 characters or more; copy all of it"
        )
    secret = base64.urlsafe_b64decode(found[2] + "=")
    claim = Claim(bytes.fromhex(found[1]), secret, bytes.fromhex(found[3]), found[4])
    if claim.text != found[0]:  # two bits of the last character are unused: accept one spelling only
        raise TidegateError("this is not a claim", "Its secret is mistyped; copy it again")
    return claim


def trust_fingerprint(store: bytes) -> bytes:
    """How a claim names an encoded trust store."""
    return hashlib.sha256(store).digest()[:TRUST]


def device_id(public: bytes) -> str:
    """The id of the device with this public key: half of its COSE key's thumbprint, in hex."""
    return proofs.thumbprint(public)


def hardware_fingerprint(unique_id: bytes) -> bytes:
    """The fingerprint of a board's unique id, which is all that the server gets of it."""
    return hashlib.sha256(b"tidegate hw" + unique_id).digest()[:HARDWARE]


def mqtt_password(secret: bytes, salt: bytes) -> str:
    return hmac.digest(secret, _FOR_MQTT + salt, hashlib.sha256)[:_PASSWORD].hex()


def coap_key(secret: bytes, salt: bytes) -> bytes:
    return hmac.digest(secret, _FOR_COAP + salt, hashlib.sha256)


# ------------------------------------------------------------------ a board's request


@dataclass(frozen=True)
class Request:
    """What a board says of itself. public: its Ed25519 key; trust: the store it needs, None if it has one."""

    public: bytes
    claim_id: bytes
    board: str
    product: str
    hardware: bytes
    nonce: bytes
    trust: bytes | None = None


def encode_request(request: Request, seed: bytes, secret: bytes) -> bytes:
    """The request, signed with the key's 32-byte seed and MACed with the claim's secret."""
    facts: dict[int, Any] = {
        1: PROTOCOL,
        2: cose.cose_key(request.public),
        3: request.claim_id,
        4: request.board,
        5: request.product,
        6: request.hardware,
        7: request.nonce,
    }
    if request.trust is not None:
        facts[8] = request.trust
    proof = cose.sign1(seed, cbor.dumps(facts), headers={cose.HEADER_TYP: _REQUEST})
    return _mac0(_REQUEST, {cose.HEADER_KID: request.claim_id}, proof, secret)


@dataclass(frozen=True)
class ReceivedRequest:
    """A request as it arrived; only its form is verified."""

    claim_id: bytes
    _signed: bytes
    _proof: bytes
    _mac: bytes

    def holds(self, secret: bytes) -> bool:
        """Whether its sender holds the claim's secret. Runs in constant time."""
        return hmac.compare_digest(hmac.digest(secret, self._signed, hashlib.sha256), self._mac)

    def open(self) -> Request:
        """The request inside, its signature verified by its own key; else Refused. Check `holds` first."""
        message = cose.decode_sign1(self._proof, "enrolment request", max_size=MAX_REQUEST)
        if message.headers != {cose.HEADER_ALG: cose.ALG_ED25519, cose.HEADER_TYP: _REQUEST}:
            raise _bad("request", "is not typed as one")
        request = _facts(message.payload or b"")
        if message.kid != cose.key_id(request.public) or request.claim_id != self.claim_id:
            raise _bad("request", "names another key or claim inside than outside")
        if not cose.verify_sign1(message, request.public):
            raise Refused("signature", "the board does not hold the key it shows", "Put the claim on the board again")
        return request


def decode_request(data: bytes) -> ReceivedRequest:
    """Decode a request; Refused if it is malformed."""
    unprotected, payload, signed, mac = _open_mac0(data, _REQUEST, "request", MAX_REQUEST)
    claim_id = unprotected.get(cose.HEADER_KID)
    if len(unprotected) != 1 or not isinstance(claim_id, bytes) or len(claim_id) != ID:
        raise _bad("request", "must name its claim and nothing else in its open header")
    return ReceivedRequest(claim_id, signed, payload, mac)


def _facts(payload: bytes) -> Request:
    found = cbor.loads(payload, "enrolment request", max_size=MAX_REQUEST)
    if not isinstance(found, dict) or not set(range(1, 8)) <= set(found) <= set(range(1, 9)):
        raise _bad("request", "must be a map of key, claim, board, product, hardware and nonce")
    if found[1] is True or found[1] != PROTOCOL:
        raise _bad("request", "is of another version of this protocol")
    key = found[2]
    public = key.get(-2) if isinstance(key, dict) else None
    if not isinstance(public, bytes) or len(public) != 32 or cbor.dumps(key) != cbor.dumps(cose.cose_key(public)):
        raise _bad("request", "must show an Ed25519 key")
    for label, name in ((4, names.BOARD), (5, names.PRODUCT)):
        if not name.fits(found[label]):
            raise Refused("malformed", f"the enrolment request: {name.refusal(found[label])}", name.remedy)
    for label, size in ((3, ID), (6, HARDWARE), (7, NONCE), (8, TRUST)):
        if label in found and (not isinstance(found[label], bytes) or len(found[label]) != size):
            raise _bad("request", f"must have {size} bytes as number {label}")
    return Request(public, found[3], found[4], found[5], found[6], found[7], found.get(8))


# ------------------------------------------------------------------ the answer


@dataclass(frozen=True)
class Answer:
    """device: the board's id from now on; salt: its credentials are derived with it; nonce: the request's."""

    device: str
    salt: bytes
    nonce: bytes
    group: str
    trust: bytes | None = None
    name: str | None = None


def encode_answer(answer: Answer, secret: bytes) -> bytes:
    members: dict[int, Any] = {1: answer.device, 2: answer.salt, 3: answer.nonce, 4: answer.group}
    if answer.trust is not None:
        members[5] = answer.trust
    if answer.name is not None:
        members[6] = answer.name
    return _mac0(_ANSWER, {}, cbor.dumps(members), secret)


def open_answer(data: bytes, secret: bytes, nonce: bytes) -> Answer:
    """The answer to the request with this nonce, checked as by a board; else Refused."""
    unprotected, payload, signed, mac = _open_mac0(data, _ANSWER, "answer", MAX_ANSWER)
    if not hmac.compare_digest(hmac.digest(secret, signed, hashlib.sha256), mac):
        raise Refused("mac", "the answer is not by the server that made the claim", "")
    found = cbor.loads(payload, "enrolment answer", max_size=MAX_ANSWER)
    if unprotected or not isinstance(found, dict) or not {1, 2, 3, 4} <= set(found) <= set(range(1, 7)):
        raise _bad("answer", "must be a map of device, salt, nonce and group")
    if found[3] != nonce:
        raise Refused("nonce", "the answer is to another request", "")
    return Answer(found[1], found[2], found[3], found[4], found.get(5), found.get(6))


# ------------------------------------------------------------------ COSE_Mac0 (RFC 9052 section 6.2)


def _mac0(kind: str, unprotected: dict[int, Any], payload: bytes, secret: bytes) -> bytes:
    protected = cbor.dumps({cose.HEADER_ALG: _HMAC_256, cose.HEADER_TYP: kind})
    mac = hmac.digest(secret, _mac_structure(protected, payload), hashlib.sha256)
    return cbor.dumps(CBORTag(TAG_MAC0, [protected, unprotected, payload, mac]))


def _open_mac0(data: bytes, kind: str, what: str, most: int) -> tuple[dict[Any, Any], bytes, bytes, bytes]:
    """(open header, payload, what the MAC is over, MAC)."""
    if len(data) > most:
        raise _bad(what, f"has more than {most} bytes")
    value = cbor.loads(data, f"enrolment {what}", max_size=most, tags=frozenset({TAG_MAC0}))
    parts = value.value if isinstance(value, CBORTag) else None
    if not isinstance(parts, list) or len(parts) != 4:
        raise _bad(what, "is not a tagged COSE_Mac0 of four parts")
    protected, unprotected, payload, mac = parts
    if protected != cbor.dumps({cose.HEADER_ALG: _HMAC_256, cose.HEADER_TYP: kind}):
        raise _bad(what, "is not typed as one, with HMAC-SHA-256")
    if not isinstance(unprotected, dict) or not isinstance(payload, bytes):
        raise _bad(what, "has parts of the wrong type")
    if not isinstance(mac, bytes) or len(mac) != MAC:
        raise _bad(what, f"must have a MAC of {MAC} bytes")
    return unprotected, payload, _mac_structure(protected, payload), mac


def _mac_structure(protected: bytes, payload: bytes) -> bytes:
    return cbor.dumps(["MAC0", protected, b"", payload])


def _bad(what: str, why: str) -> Refused:
    return Refused("malformed", f"the enrolment {what} {why}", "Are board and server of one version?")
