"""How a device shows over CoAP that it is itself: messages in COSE_Mac0 under the key of a session
(docs/coap-uplink.md, docs/decisions/0013-coap-sessions.md).
"""

import hashlib

from gate.clock import const

_BLOCK = const(64)  # bytes; of SHA-256
_TAG = const(8)  # bytes
_LABEL = b"tidegate coap 1"
_POST = b"\x02"
_GET = b"\x01"


class Session:
    """One session. key: the device's, 32 bytes; echo: the value that the server made for it."""

    def __init__(self, key, echo):
        self._key = hmac(key, _LABEL + echo)
        self._counter = 0

    def sign(self, path, message, counter=None):
        """(body, counter) of a POST of `message` (bytes) to `path` (str). counter: that of an
        earlier attempt to send the same; without one it is the next.
        """
        if counter is None:
            counter = self._counter
            self._counter += 1
        protected = b"\xa2\x01\x04\x06\x44" + counter.to_bytes(4, "big")
        text = _bytes(message)
        inner = b"\x84\x64MAC0" + _bytes(protected) + _bytes(_POST + path.encode()) + text
        tag = hmac(self._key, inner)[:_TAG]
        return b"\xd1\x84" + _bytes(protected) + b"\xa0" + text + _bytes(tag), counter

    def query(self, path):
        """The query of a GET of `path` (str)."""
        tag = hmac(self._key, _GET + path.encode())[:_TAG]
        return "a=" + "".join("%02x" % byte for byte in tag)


def hmac(key, text):
    """HMAC-SHA-256 (RFC 2104) with a key of at most 64 bytes: 32 bytes."""
    key += bytes(_BLOCK - len(key))
    inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in key))
    inner.update(text)
    outer = hashlib.sha256(bytes(byte ^ 0x5C for byte in key))
    outer.update(inner.digest())
    return outer.digest()


def _bytes(data):
    """The CBOR byte string of at most 65535 bytes."""
    size = len(data)
    if size < 24:
        return bytes((0x40 | size,)) + data
    if size < 256:
        return bytes((0x58, size)) + data
    return bytes((0x59, size >> 8, size & 0xFF)) + data
