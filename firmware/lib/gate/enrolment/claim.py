"""A claim, and the messages under its secret: what a board asks with it, and which answers it
believes (enrol-request and enrol-answer in docs/wire.cddl). Nothing here reads or writes a file.
"""

from binascii import a2b_base64
from hashlib import sha256

import cbor

from gate.clock import const
from gate.link.coap_mac import hmac

_ASKS = "application/vnd.tidegate.enrol+cbor"
_TELLS = "application/vnd.tidegate.enrolled+cbor"
_FOR_MQTT = b"tidegate mqtt password 1"
_FOR_COAP = b"tidegate coap key 1"
_ED25519 = const(-19)
_HMAC_256 = const(5)
_MAC0 = const(17)
_SIGN1 = const(18)
_SIZE = const(98)  # characters of a claim
_MAX_ANSWER = const(1536)
_DEVICE_CHARS = "abcdefghijklmnopqrstuvwxyz0123456789-"


class Refused(Exception):
    """The server does not take the claim, or its answer is not for us; the text says why."""


class Claim:
    """One claim. id: 8 bytes; name: the same in hex; trust: how the trust store that may be taken
    begins, hashed, 16 bytes.
    """

    def __init__(self, text):
        """Raises ValueError for a text that is none."""
        text = text.strip()
        if len(text) != _SIZE or text[:5] != "tgc1_" or text[21] != "_" or text[65] != "_":
            raise ValueError
        self.name = text[5:21]
        self.id = _unhex(self.name)
        self._secret = a2b_base64(text[22:65].replace("-", "+").replace("_", "/") + "=")
        self.trust = _unhex(text[66:])
        if len(self._secret) != 32:
            raise ValueError

    def request(self, key, board, product, hardware, nonce, wanted):
        """What the board asks, bytes. key: its ed25519.sign.Key; hardware: print of the board, 8
        bytes; nonce: 16; wanted: the claim's trust, or None for a board that has a trust store.
        """
        shown = {1: 1, -1: 6, -2: key.public}
        facts = {1: 1, 2: shown, 3: self.id, 4: board, 5: product, 6: hardware, 7: nonce}
        if wanted is not None:
            facts[8] = wanted
        protected = cbor.dumps({1: _ED25519, 16: _ASKS})
        payload = cbor.dumps(facts)
        signature = key.sign(cbor.dumps(("Signature1", protected, b"", payload)))
        kid = sha256(cbor.dumps(shown)).digest()[:8]
        proof = cbor.dumps(cbor.Tag(_SIGN1, (protected, {4: kid}, payload, signature)))
        protected = cbor.dumps({1: _HMAC_256, 16: _ASKS})
        mac = self._mac(protected, proof)
        return cbor.dumps(cbor.Tag(_MAC0, (protected, {4: self.id}, proof, mac)))

    def open(self, answer, nonce, wanted):
        """The map that the server tells (enrolled); with the trust store, if it is wanted, under
        5. Raises Refused.
        """
        try:
            told = self._verified(answer, nonce)
        except (ValueError, TypeError, KeyError):
            raise Refused("the answer is not by the server that made the claim")
        if wanted is None:
            told.pop(5, None)
            return told
        store = told.get(5)
        if not isinstance(store, bytes) or sha256(store).digest()[:16] != wanted:
            raise Refused("the server gave another trust store than the claim names")
        return told

    def password(self, salt):
        """The device's password at the broker."""
        return _hex(hmac(self._secret, _FOR_MQTT + salt)[:24])

    def coap_key(self, salt):
        """The device's CoAP key, in hex."""
        return _hex(hmac(self._secret, _FOR_COAP + salt))

    def _verified(self, answer, nonce):
        item = cbor.loads(answer, _MAX_ANSWER)
        if not isinstance(item, cbor.Tag) or item.tag != _MAC0 or len(item.value) != 4:
            raise ValueError
        protected, unprotected, payload, mac = item.value
        if not _same(mac, self._mac(protected, payload)):
            raise ValueError
        if protected != cbor.dumps({1: _HMAC_256, 16: _TELLS}) or unprotected:
            raise ValueError
        told = cbor.loads(payload, _MAX_ANSWER)
        if not isinstance(told, dict) or told[3] != nonce:
            raise ValueError
        device, salt, group = told[1], told[2], told[4]
        if len(salt) != 16 or not isinstance(salt, bytes) or not isinstance(group, str):
            raise ValueError
        if not 0 < len(device) <= 32 or any(char not in _DEVICE_CHARS for char in device):
            raise ValueError
        return told

    def _mac(self, protected, payload):
        return hmac(self._secret, cbor.dumps(("MAC0", protected, b"", payload)))


def _same(one, other):
    """Whether these bytes are equal; takes as long wherever they differ."""
    if len(one) != len(other):
        return False
    differing = 0
    for a, b in zip(one, other):
        differing |= a ^ b
    return not differing


def _hex(data):
    return "".join("%02x" % byte for byte in data)


def _unhex(text):
    return bytes(int(text[at : at + 2], 16) for at in range(0, len(text), 2))
