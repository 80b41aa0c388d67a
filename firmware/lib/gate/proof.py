"""What the board signs with its own key: birth-proof, result-proof and enrol-proof of
docs/wire.cddl. Imported on demand; a signature takes some 35 million instructions on a Cortex-M3.
"""

import gc
from hashlib import sha256

import cbor

from gate import PROTOCOL
from gate.clock import const
from gate.files import SmallFiles

KEY = "key"  # the file with the board's private key, made at its enrolment
_SEED_SIZE = const(32)
_BIRTH = "application/vnd.tidegate.birth+cbor"
_RESULT = "application/vnd.tidegate.result+cbor"
_SIGN1 = const(18)
_ED25519 = const(-19)

# header parameters of COSE
_ALG = const(1)
_KID = const(4)
_TYP = const(16)

# a COSE_Key
_KTY = const(1)
_CRV = const(-1)
_X = const(-2)
_OKP = const(1)
_CRV_ED25519 = const(6)

# keys of what is signed, docs/wire.cddl
PROTOCOL_VERSION = const(1)
COSE_KEY = const(2)
_DEVICE = const(3)
_NONCE = const(4)
_HARDWARE = const(5)
_COMMAND = const(6)
_ANSWER = const(7)
_OUTPUT = const(8)


def birth(device, nonce):
    """The birth-proof of a gate.device.Device for this boot's nonce; None for a board without a
    key.
    """
    facts = {_DEVICE: device.id, _NONCE: nonce, _HARDWARE: device.hardware}
    return _by_board(device, _BIRTH, facts)


def result(device, nonce, command, end, output):
    """The result-proof of a result (a map) without one; None for a board without a key. command:
    SHA-256 of the signed command; output: SHA-256 of all its output, or None.
    """
    answer = sha256(cbor.dumps(end)).digest()
    facts = {_DEVICE: device.id, _NONCE: nonce, _COMMAND: command, _ANSWER: answer}
    if output:
        facts[_OUTPUT] = output
    return _by_board(device, _RESULT, facts)


def sign1(key, kind, facts):
    """A COSE_Sign1 of this type by `key` (ed25519.sign.Key) over facts (a map), to which it adds
    the protocol and the key. Returns (bytes, thumbprint of the key: 32 bytes).
    """
    cose_key = {_KTY: _OKP, _CRV: _CRV_ED25519, _X: key.public}
    facts[PROTOCOL_VERSION] = PROTOCOL
    facts[COSE_KEY] = cose_key
    protected = cbor.dumps({_ALG: _ED25519, _TYP: kind})
    payload = cbor.dumps(facts)
    signature = key.sign(cbor.dumps(("Signature1", protected, b"", payload)))
    thumbprint = sha256(cbor.dumps(cose_key)).digest()
    parts = protected, {_KID: thumbprint[:8]}, payload, signature
    return cbor.dumps(cbor.Tag(_SIGN1, parts)), thumbprint


def quietly(work):
    """work(), without collecting every few kilobytes: big numbers leave only garbage."""
    if not hasattr(gc, "threshold"):
        return work()
    usual = gc.threshold()
    gc.threshold(-1)
    try:
        return work()
    finally:
        gc.threshold(usual)
        gc.collect()


def _by_board(device, kind, facts):
    seed = SmallFiles(device.folder).read(KEY)
    if seed is None or len(seed) != _SEED_SIZE:
        return None
    from ed25519.sign import Key

    return quietly(lambda: sign1(Key(seed, device.feed), kind, facts)[0])
