"""A claim, and the messages under its secret: enrol-request and enrol-answer in docs/wire.cddl.
Nothing here reads or writes a file.
"""

from binascii import a2b_base64
from hashlib import sha256

import cbor

from gate.clock import const
from gate.link.coap_mac import hmac
from gate.proof import sign1

_REQUEST_TYPE = "application/vnd.tidegate.enrol+cbor"
_ANSWER_TYPE = "application/vnd.tidegate.enrolled+cbor"
_FOR_MQTT = b"tidegate mqtt password 1"
_FOR_COAP = b"tidegate coap key 1"
_HMAC_256 = const(5)
_MAC0 = const(17)

# header parameters of COSE
_ALG = const(1)
_KID = const(4)
_TYP = const(16)

# keys of enrol-facts, docs/wire.cddl
_CLAIM_ID = const(3)
_BOARD = const(4)
_PRODUCT = const(5)
_HARDWARE = const(6)
_REQUEST_NONCE = const(7)
_TRUST = const(8)

# keys of enrolled, docs/wire.cddl
_DEVICE = const(1)
_SALT = const(2)
_NONCE = const(3)
_GROUP = const(4)
_TRUST_STORE = const(5)

_SIZE = const(98)  # characters of a claim that names no device
_DEVICE_SIZE = const(32)
_MAX_ANSWER = const(1536)
_DEVICE_CHARS = "abcdefghijklmnopqrstuvwxyz0123456789-"


class Refused(Exception):
    """The server rejects the claim, or its answer is not valid; the text says why."""


class Enrolled:
    """What the server answers. device: the board's id from now on; salt: of its credentials, 16
    bytes; group: its name; trust: the encoded trust store, if one was requested, or None.
    """

    def __init__(self, device, salt, group, trust):
        self.device = device
        self.salt = salt
        self.group = group
        self.trust = trust


class Claim:
    """One claim. id: 8 bytes; name: the same in hex; trust: first 16 bytes of the SHA-256 of the
    trust store that may be accepted; device: the only id that may be accepted. If the claim names
    none it is the thumbprint of the board's key, and None until there is a request: a server must
    not be able to give a board the id of another one.
    """

    def __init__(self, text):
        """Raises ValueError for a text that is not a claim."""
        text = text.strip()
        if len(text) < _SIZE or text[:5] != "tgc1_" or text[21] != "_" or text[65] != "_":
            raise ValueError
        self.name = text[5:21]
        self.id = _unhex(self.name)
        self._secret = a2b_base64(text[22:65].replace("-", "+").replace("_", "/") + "=")
        self.trust = _unhex(text[66:_SIZE])
        self.device = text[_SIZE + 1 :] or None
        if len(self._secret) != 32:
            raise ValueError
        if len(text) > _SIZE and (text[_SIZE] != "_" or not _is_device(self.device)):
            raise ValueError

    def request(self, key, board, product, hardware, nonce, trust):
        """The enrol-request, bytes. key: the board's ed25519.sign.Key; hardware: its fingerprint,
        8 bytes; nonce: 16 bytes; trust: the claim's, None for a board that has a trust store.
        """
        facts = {
            _CLAIM_ID: self.id,
            _BOARD: board,
            _PRODUCT: product,
            _HARDWARE: hardware,
            _REQUEST_NONCE: nonce,
        }
        if trust is not None:
            facts[_TRUST] = trust
        proof, thumbprint = sign1(key, _REQUEST_TYPE, facts)
        self.device = self.device or thumbprint[:16].hex()
        protected = cbor.dumps({_ALG: _HMAC_256, _TYP: _REQUEST_TYPE})
        mac = self._mac(protected, proof)
        return cbor.dumps(cbor.Tag(_MAC0, (protected, {_KID: self.id}, proof, mac)))

    def open(self, answer, nonce, trust):
        """Returns the Enrolled in a verified answer (bytes). trust: as in `request`; without it a
        trust store in the answer is ignored. Raises Refused.
        """
        try:
            enrolled = self._verified(answer, nonce)
        except (ValueError, TypeError, KeyError):
            raise Refused("the answer is not by the server that made the claim")
        store = enrolled.pop(_TRUST_STORE, None)
        if trust is None:
            store = None
        elif not isinstance(store, bytes) or sha256(store).digest()[:16] != trust:
            raise Refused("the server gave another trust store than the claim names")
        if enrolled[_DEVICE] != self.device:
            raise Refused("the server gave the id of another board")
        return Enrolled(enrolled[_DEVICE], enrolled[_SALT], enrolled[_GROUP], store)

    def password(self, salt):
        """The device's password at the broker."""
        return hmac(self._secret, _FOR_MQTT + salt)[:24].hex()

    def coap_key(self, salt):
        """The device's CoAP key, in hex."""
        return hmac(self._secret, _FOR_COAP + salt).hex()

    def _verified(self, answer, nonce):
        item = cbor.loads(answer, _MAX_ANSWER)
        if not isinstance(item, cbor.Tag) or item.tag != _MAC0 or len(item.value) != 4:
            raise ValueError
        protected, unprotected, payload, mac = item.value
        if not _same(mac, self._mac(protected, payload)):
            raise ValueError
        if protected != cbor.dumps({_ALG: _HMAC_256, _TYP: _ANSWER_TYPE}) or unprotected != {}:
            raise ValueError
        enrolled = cbor.loads(payload, _MAX_ANSWER)
        if not isinstance(enrolled, dict) or enrolled[_NONCE] != nonce:
            raise ValueError
        device, salt, group = enrolled[_DEVICE], enrolled[_SALT], enrolled[_GROUP]
        if len(salt) != 16 or not isinstance(salt, bytes) or not isinstance(group, str):
            raise ValueError
        if not isinstance(device, str) or not _is_device(device):
            raise ValueError
        return enrolled

    def _mac(self, protected, payload):
        return hmac(self._secret, cbor.dumps(("MAC0", protected, b"", payload)))


def _is_device(text):
    """Whether text can be a device's id."""
    return text and len(text) <= _DEVICE_SIZE and all(char in _DEVICE_CHARS for char in text)


def _same(one, other):
    """Whether these bytes are equal, compared in constant time."""
    if len(one) != len(other):
        return False
    differing = 0
    for a, b in zip(one, other):
        differing |= a ^ b
    return not differing


def _unhex(text):
    return bytes(int(text[at : at + 2], 16) for at in range(0, len(text), 2))
