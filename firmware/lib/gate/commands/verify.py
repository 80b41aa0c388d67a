"""Verifies commands: CWTs (RFC 8392) for this device only, each accepted at most once.

The order of the checks is that of docs/commands.md: size, decoding, keys and their role, type,
signatures, audience, counter, time. Where the clock cannot be trusted a command must carry the
nonce of this boot's birth; where it can, the nonce is optional, and iat and exp are checked.

A COSE_Sign1 uses the counter of its one key. A COSE_Sign, of several signers, uses the counters of
every key of its role: else a relay could split its signatures into two commands.
"""

from hashlib import sha256

import cbor
import cose

from gate.clock import const
from gate.trust import store

MAX_SIZE = const(1024)

_MAX_LIFETIME = const(86400)  # s
_SKEW = const(120)  # s that the signer's clock may be ahead
_CWT = const(61)  # application/cwt
_PROTECTED = {cose.ALG: cose.ED25519, cose.TYP: _CWT}
_PROTECTED_SIGN = {cose.TYP: _CWT}  # the algorithm is each signer's
_MAX_SIGNATURES = const(4)
_SIGN = b"\xd8\x62"  # the head of tag 98, COSE_Sign
_AUD = const(3)
_EXP = const(4)
_IAT = const(6)
_CTI = const(7)
_NONCE = const(10)
_REQUEST = const(-65537)
_PROOF = const(-65538)
_REQUIRED = (_AUD, _EXP, _IAT, _CTI, _REQUEST)


class Refusal(Exception):
    """A command that is not executed. reason: a word of docs/reports.md; kids: ids of the keys
    whose counter it uses nevertheless, so that it is answered; None if anyone may have sent it, or
    if it has been answered; cti: the counter it claims, perhaps unverified, or None.
    """

    def __init__(self, reason, detail, kids=None):
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
        self.kids = kids
        self.cti = None


def verify(data, keys, feed, device, nonce, counters, now=None):
    """Verifies the command in `data` (bytes). Returns (cti, kids whose counter it uses, whether
    its keys may only read, opcode, arguments, when it was signed in seconds since 1970); raises
    Refusal.

    keys: gate.trust.storage.Storage; feed(): called before each verification; counters: {kid:
    highest counter used}; now: seconds since 1970, None where the clock cannot be trusted.
    """
    cti = None
    try:
        claims, kids, role = _authenticate(data, keys, feed)
        cti = claims[_CTI]
        _accept(claims, kids, device, nonce, counters, now)
    except Exception as error:
        refusal = error if isinstance(error, Refusal) else _surprise(error)
        refusal.cti = cti or _claimed_cti(data)
        raise refusal
    opcode, arguments = claims[_REQUEST]
    return cti, kids, role == store.DIAGNOSE, opcode, arguments, claims[_IAT]


def digest_for_proof(data):
    """The SHA-256 of a verified command that wants its result signed by the board, or None."""
    if _PROOF in cbor.loads(_decode(data)[0].payload, MAX_SIZE):
        return sha256(data).digest()
    return None


def _authenticate(data, keys, feed):
    """Verifies the signatures. Returns (claims, ids of the keys whose counter it uses, their
    role).
    """
    if len(data) > MAX_SIZE:
        raise Refusal("too-large", "%d bytes, at most %d" % (len(data), MAX_SIZE))
    try:
        message, protected = _decode(data)
    except cose.CoseError as error:
        raise Refusal("malformed", str(error))
    if message.headers != protected or message.payload is None:
        raise Refusal("typ", "not a signed CWT")
    try:
        signers, role = _quorum(message, keys, feed)
    except store.Untrusted as error:
        raise Refusal(error.reason, error.detail)
    try:
        claims = cbor.loads(message.payload, MAX_SIZE)
    except cbor.CborError as error:
        raise Refusal("malformed", str(error))
    _check_claims(claims)
    if isinstance(message, cose.Sign1):
        return claims, signers, role
    return claims, keys.kids(role), role


def _quorum(message, keys, feed):
    """Returns (ids of the signers, their role). With one command key among them, command keys must
    sign; else diagnose keys.
    """
    signatures = store.signatures(message)
    role = store.COMMAND
    if keys.kids(store.DIAGNOSE) and not any(keys.find(role, kid) for kid, _ in signatures):
        role = store.DIAGNOSE
    return keys.quorum(role, signatures, feed), role


def _accept(claims, kids, device, nonce, counters, now):
    if claims[_AUD] != device:
        raise Refusal("audience", "for %s" % claims[_AUD])
    counter = int.from_bytes(claims[_CTI], "big")
    if counter <= max(counters.get(kid, -1) for kid in kids):
        # Its first delivery has been answered; a second answer would contradict that.
        raise Refusal("replay", "counter used before")
    made_for = claims.get(_NONCE)
    if made_for != nonce and (made_for is not None or now is None):
        raise Refusal("nonce", "not made for this boot; read the last birth and sign again", kids)
    if now is None:
        return
    if claims[_IAT] > now + _SKEW:
        late = claims[_IAT] - now
        raise Refusal("time", "signed %d s from now; a clock is wrong, here or there" % late, kids)
    if now >= claims[_EXP]:
        raise Refusal("expired", "%d s ago; sign again" % (now - claims[_EXP]), kids)


def _surprise(error):
    """The Refusal for any other exception: a malformed command is only refused."""
    if isinstance(error, MemoryError):
        return Refusal("memory", "not enough memory to verify it")
    return Refusal("malformed", "%s: %s" % (type(error).__name__, error))


def _check_claims(claims):
    """Checks the form of the claims, docs/wire.cddl."""
    good = isinstance(claims, dict) and all(key in claims for key in _REQUIRED)
    if good:
        request, cti, nonce = claims[_REQUEST], claims[_CTI], claims.get(_NONCE, bytes(8))
        good = (
            len(claims) == len(_REQUIRED) + (_NONCE in claims) + (_PROOF in claims)
            and claims.get(_PROOF, True) is True
            and isinstance(claims[_AUD], str)
            and cbor.is_uint(claims[_EXP])
            and cbor.is_uint(claims[_IAT])
            and 0 < claims[_EXP] - claims[_IAT] <= _MAX_LIFETIME
            and isinstance(cti, bytes)
            and len(cti) == 8
            and isinstance(nonce, bytes)
            and len(nonce) == 8
            and isinstance(request, list)
            and len(request) == 2
            and isinstance(request[0], str)
            and isinstance(request[1], dict)
            and all(isinstance(key, str) for key in request[1])
        )
    if not good:
        raise Refusal("malformed", "the claims are not those of a command")


def _decode(data):
    """(cose.Sign1 or cose.Sign, the protected header it must have); raises cose.CoseError."""
    if data[:2] == _SIGN:
        return cose.decode_sign(data, _MAX_SIGNATURES, MAX_SIZE), _PROTECTED_SIGN
    message = cose.decode_sign1(data)
    if message.unprotected:  # without a key id it is by an unknown key
        cose.key_id_alone(message.unprotected)
    return message, _PROTECTED


def _claimed_cti(data):
    """The counter that a refused command claims, unverified, so that people can identify it; or
    None.
    """
    try:
        cti = cbor.loads(_decode(data)[0].payload, MAX_SIZE)[_CTI]
        return cti if isinstance(cti, bytes) and len(cti) == 8 else None
    except (ValueError, TypeError, KeyError, IndexError, cose.CoseError):
        return None
