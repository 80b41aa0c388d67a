"""Verifies trust updates: a new store must be signed by the root keys of the store before it and
by its own, and be exactly one version newer (as The Update Framework rotates its root, section 5.3
of its specification). A device that missed several takes them one after the other.
"""

import cose

from gate.clock import const
from gate.trust import store as trust_store

MAX_SIZE = const(2048)  # bytes of a trust-update
_MAX_SIGNATURES = const(8)
_PROTECTED = {cose.TYP: "application/vnd.tidegate.trust+cbor"}


def verify(data, store, feed):
    """Returns (the new TrustStore, its encoding) of the trust-update `data` (bytes). Raises
    store.Untrusted if it must not replace `store`.

    The order: size, form, the old quorum over bytes not yet decoded, then the new store, its
    version, its own quorum, and that it revokes the keys it drops.
    """
    if len(data) > MAX_SIZE:
        raise trust_store.Untrusted("too-large", "%d bytes, at most %d" % (len(data), MAX_SIZE))
    try:
        update = cose.decode_sign(data, _MAX_SIGNATURES, MAX_SIZE)
    except cose.CoseError as error:
        raise trust_store.Untrusted("malformed", str(error))
    if update.headers != _PROTECTED:
        raise trust_store.Untrusted("typ", "not typed as a trust store")
    signatures = _once(trust_store.signatures(update))
    store.quorum(trust_store.ROOT, signatures, feed)
    try:
        new = trust_store.parse(update.payload)
    except ValueError as error:
        raise trust_store.Untrusted("malformed", str(error))
    if new.version != store.version + 1:
        raise trust_store.Untrusted(
            "version", "version %d does not follow %d" % (new.version, store.version)
        )
    if not new.kids(trust_store.RELEASE):
        raise trust_store.Untrusted(
            "malformed", "without a release key no update could be accepted"
        )
    new.quorum(trust_store.ROOT, signatures, feed)
    for kid in store.revoked + _dropped(store, new):
        if kid not in new.revoked:
            raise trust_store.Untrusted("revoked", "a dropped key is not listed as revoked")
    return new, update.payload


def _dropped(old, new):
    """Ids of keys that no longer have the role they had."""
    return [kid for role in old.roles for kid in old.kids(role) if new.find(role, kid) is None]


def _once(signatures):
    """The same signatures, each verified at most once with a key: old and new store may share
    keys.
    """
    return [(kid, _remembering(verify)) for kid, verify in signatures]


def _remembering(verify):
    verdicts = {}

    def verify_once(public):
        if public not in verdicts:
            verdicts[public] = verify(public)
        return verdicts[public]

    return verify_once


def payload(data):
    """The encoded store in an update (bytes), unverified; None if it is malformed."""
    try:
        return cose.decode_sign(data, _MAX_SIGNATURES, MAX_SIZE).payload
    except cose.CoseError:
        return None
