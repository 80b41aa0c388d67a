"""The trust store: the public keys this device accepts, by role, and how many of a role must sign
(trust-store in docs/wire.cddl, docs/trust.md).
"""

import gc

import cbor
import cose

from gate.clock import const

RELEASE = const(1)
COMMAND = const(2)
ROOT = const(3)
DIAGNOSE = const(4)

MAX_SIZE = const(1024)  # bytes
_MAX_KEYS = const(8)  # of all roles
_MAX_THRESHOLD = const(4)
_MAX_REVOKED = const(64)
_MAX_VERSION = const(0xFFFFFFFF)
_KID_SIZE = const(8)

# keys of a trust-store, docs/wire.cddl
_VERSION = const(1)
_ROLES = const(2)
_REVOKED = const(3)

# keys and values of a COSE_Key
_KTY = const(1)
_CRV = const(-1)
_X = const(-2)
_OKP = const(1)
_ED25519 = const(6)

_NAMES = {RELEASE: "release", COMMAND: "command", ROOT: "root", DIAGNOSE: "diagnose"}


class Untrusted(Exception):
    """Not signed by enough trusted keys. reason: a word of docs/reports.md."""

    def __init__(self, reason, detail):
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


class TrustStore:
    """One version of the store. roles: {role: (threshold, {kid: public key})}, kid 8 bytes, public
    key 32 bytes. revoked: list of kids that are never accepted again.
    """

    def __init__(self, version, roles, revoked):
        self.version = version
        self.roles = roles
        self.revoked = revoked

    def find(self, role, kid):
        """The public key of that role and id (bytes), or None."""
        if role not in self.roles:
            return None
        return self.roles[role][1].get(kid)

    def kids(self, role):
        """The ids of the role's keys."""
        return list(self.roles[role][1]) if role in self.roles else []

    def quorum(self, role, signatures, feed):
        """The ids of the role's keys that signed; raises Untrusted if they are too few.

        signatures: (kid, verify) each, verify(public key) -> bool. One by an unknown key is
        skipped, so that a message may be signed for the stores before and after a rotation; a
        wrong one by a known key is fatal, whatever the others are. feed(): called before each
        verification, which takes a while on a board.
        """
        good = []
        for kid, verify in signatures:
            public = self.find(role, kid)
            if public is None:
                continue
            if kid in good:
                raise Untrusted("malformed", "a key signed twice")
            feed()
            if not _without_collecting(verify, public):
                raise Untrusted("signature", "the signature is wrong")
            good.append(kid)
        if not good:
            raise Untrusted(
                "unknown-key", "no signature by a %s key this device trusts" % _NAMES[role]
            )
        needed = self.roles[role][0]
        if len(good) < needed:
            raise Untrusted(
                "threshold", "%d of %d %s signatures" % (len(good), needed, _NAMES[role])
            )
        return good


def _without_collecting(verify, public):
    """verify(public). In plain Python it leaves a megabyte of garbage and nothing else, so
    collecting every few kilobytes (boot.loader.main) would only cost time.
    """
    if not hasattr(gc, "threshold"):
        return verify(public)
    usual = gc.threshold()
    gc.threshold(-1)
    try:
        return verify(public)
    finally:
        gc.threshold(usual)
        gc.collect()


def signatures(message):
    """[(kid, verify)] for TrustStore.quorum, of a cose.Sign or a cose.Sign1 with its payload."""
    if isinstance(message, cose.Sign1):
        return [(message.unprotected.get(cose.KID), lambda key: cose.verify_sign1(message, key))]
    return [(signer.kid, _verifier(message, signer)) for signer in message.signers]


def _verifier(message, signer):
    return lambda key: cose.verify_signer(message, signer, key)


def parse(data):
    """The TrustStore in these bytes; raises ValueError, whose text says what is wrong."""
    store = cbor.loads(data, MAX_SIZE)
    if not isinstance(store, dict) or set(store) != {_VERSION, _ROLES, _REVOKED}:
        raise ValueError("a trust store is a map of version, roles and revoked keys")
    version, entries, revoked = store[_VERSION], store[_ROLES], store[_REVOKED]
    if not cbor.is_uint(version) or not 1 <= version <= _MAX_VERSION:
        raise ValueError("a trust store's version is 1 to %d" % _MAX_VERSION)
    if not isinstance(entries, dict):
        raise ValueError("a trust store's keys are a map of roles")
    seen = []
    roles = {role: _role(role, entry, seen) for role, entry in entries.items()}
    if not 1 <= len(seen) <= _MAX_KEYS:
        raise ValueError("a trust store has 1 to %d keys" % _MAX_KEYS)
    if not isinstance(revoked, list) or len(revoked) > _MAX_REVOKED:
        raise ValueError("a trust store lists at most %d revoked keys" % _MAX_REVOKED)
    for kid in revoked:
        if not isinstance(kid, bytes) or len(kid) != _KID_SIZE:
            raise ValueError("a revoked key is named by %d bytes" % _KID_SIZE)
        if kid in seen:
            raise ValueError("a key is listed twice, or revoked and in use")
        seen.append(kid)
    return TrustStore(version, roles, revoked)


def _role(role, entry, seen):
    """(threshold, {kid: public}) of one role; adds the kids to those seen."""
    if role not in _NAMES:
        raise ValueError("role %r is unknown" % role)
    if not isinstance(entry, list) or len(entry) != 2 or not isinstance(entry[1], list):
        raise ValueError("a role has a threshold and keys")
    threshold, keys = entry
    if not cbor.is_uint(threshold) or not 1 <= threshold <= min(_MAX_THRESHOLD, len(keys)):
        raise ValueError("a threshold is 1 to %d, and at most all keys" % _MAX_THRESHOLD)
    if len(keys) > _MAX_KEYS:
        raise ValueError("a trust store has 1 to %d keys" % _MAX_KEYS)
    found = {}
    for key in keys:
        # OKP, Ed25519, x and nothing else: the key id is a digest over exactly these.
        if not isinstance(key, dict) or len(key) != 3:
            raise ValueError("a key is an Ed25519 COSE_Key")
        if key.get(_KTY) != _OKP or key[_KTY] is True or key.get(_CRV) != _ED25519:
            raise ValueError("a key is an Ed25519 COSE_Key")
        public = key.get(_X)
        if not isinstance(public, bytes) or len(public) != 32:
            raise ValueError("an Ed25519 public key has 32 bytes")
        kid = cose.key_id(public)
        if kid in seen:
            raise ValueError("a key is listed twice; it has one role")
        seen.append(kid)
        found[kid] = public
    return threshold, found
