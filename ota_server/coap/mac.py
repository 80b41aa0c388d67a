"""Authenticates a device's CoAP requests.

A body is in COSE_Mac0 (RFC 9052, section 6.2) with HMAC-SHA-256 cut to 8 bytes (alg 4) and a counter. A request
without a body, which changes nothing, has a tag in its query.

Both are made under the key of a session. That key comes from the device's key and an Echo value (RFC 9175) which the
server made a moment before, so no recording of an earlier session fits, and a board needs no clock and no flash.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import NamedTuple

from tidegate.wire import cbor

TAG = 8  # bytes
OVERHEAD = 32  # at most so many bytes are around a payload
_SESSION = b"tidegate coap 1"
_GET, _POST = b"\x01", b"\x02"
_COUNTER = 4  # bytes
# Tag 17, array of 4, protected header bstr .cbor {1: 4, 6: counter}, empty unprotected header.
_HEAD = bytes.fromhex("d18449")
_PROTECTED = bytes.fromhex("a2010406") + b"\x44"
_UNPROTECTED = b"\xa0"


class Signed(NamedTuple):
    """An uplink message as it came: not yet verified."""

    protected: bytes
    counter: int
    payload: bytes
    tag: bytes

    def verifies(self, key: bytes, path: str) -> bool:
        return hmac.compare_digest(_tag(key, self.protected, path, self.payload), self.tag)


def session_key(device_key: bytes, echo: bytes) -> bytes:
    return hmac.digest(device_key, _SESSION + echo, hashlib.sha256)


def sign(key: bytes, path: str, counter: int, payload: bytes) -> bytes:
    """The body of a POST to `path` ("tg/<device>/up/...")."""
    protected = _PROTECTED + counter.to_bytes(_COUNTER, "big")
    tag = _tag(key, protected, path, payload)
    return _HEAD + protected + _UNPROTECTED + cbor.dumps(payload) + cbor.dumps(tag)


def split(body: bytes) -> Signed | None:
    """The parts of a body that `sign` made; None for anything else. There is one spelling only."""
    at = len(_HEAD) + len(_PROTECTED)
    if not body.startswith(_HEAD + _PROTECTED) or body[at + _COUNTER : at + _COUNTER + 1] != _UNPROTECTED:
        return None
    counter = int.from_bytes(body[at : at + _COUNTER], "big")
    rest, tag = body[at + _COUNTER + 1 : -TAG - 1], body[-TAG:]
    if body[-TAG - 1 : -TAG] != bytes((0x40 + TAG,)):
        return None
    try:
        payload = cbor.loads(rest, max_size=1 << 16)
    except cbor.CborError:
        return None
    return Signed(body[len(_HEAD) : at + _COUNTER], counter, payload, tag) if isinstance(payload, bytes) else None


def query_tag(key: bytes, path: str) -> str:
    """What a GET of `path` ("tg/<device>/down/...") carries as Uri-Query "a=..."."""
    return hmac.digest(key, _GET + path.encode(), hashlib.sha256)[:TAG].hex()


def query_verifies(key: bytes, path: str, tag: str) -> bool:
    return hmac.compare_digest(query_tag(key, path).encode(), tag.encode())


def _tag(key: bytes, protected: bytes, path: str, payload: bytes) -> bytes:
    """Over the MAC_structure; the external data are method and path."""
    structure = cbor.dumps(["MAC0", protected, _POST + path.encode(), payload])
    return hmac.digest(key, structure, hashlib.sha256)[:TAG]
