"""Rotates the trust store: propose the next version, have it signed, verify it as a device does.

A trust update (docs/wire.cddl) is the next store, signed by the root keys of the store before it and by its own,
as The Update Framework rotates its root. A proposal is the same document with fewer signatures: it travels
from one root key's holder to the next until both quorums are there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from tidegate.errors import Refused, TidegateError
from tidegate.files import read_limited
from tidegate.trust import store as trust_store
from tidegate.trust.keys import Key
from tidegate.trust.store import TrustStore
from tidegate.wire import cose

MAX_SIZE = 2048
MAX_SIGNATURES = 8
TYP = "application/vnd.tidegate.trust+cbor"
_HEADERS = {cose.HEADER_TYP: TYP}
_WHAT = "trust update"


def succeed(
    old: TrustStore,
    add: Iterable[Key] = (),
    remove: Iterable[bytes] = (),
    thresholds: Mapping[str, int] | None = None,
) -> TrustStore:
    """The store that follows `old`: keys added, keys (by id) removed and thereby revoked, thresholds changed."""
    gone = tuple(remove)
    known = {key.kid for key in old.keys}
    for kid in gone:
        if kid not in known:
            raise TidegateError(f"key {kid.hex()} is not in the trust store", "`tidegate trust show` names its keys")
    left = [key for key in old.keys if key.kid not in gone]
    new = trust_store.make(
        [*left, *add], old.version + 1, {**old.thresholds, **(thresholds or {})}, (*old.revoked, *gone)
    )
    for role in ("root", "release"):
        if not new.role(role):
            raise TidegateError(
                f"version {new.version} would have no {role} key", f"Add one in the same step: --add NEW-{role}.jwk.pub"
            )
    return new


def propose(store: TrustStore) -> bytes:
    """An unsigned update to `store`."""
    return cose.sign([], trust_store.encode(store), _HEADERS)


def sign(update: bytes, keys: Sequence[Key]) -> bytes:
    """`update` with the signatures of these root keys added."""
    document = _open(update, least=0)
    signers = {signature.kid for signature in document.signatures}
    for key in keys:
        if key.kid in signers:
            raise TidegateError(f"key {key.kid.hex()} has signed already", "Sign with another root key")
        signers.add(key.kid)
    if len(signers) > MAX_SIGNATURES:
        raise TidegateError(f"a trust update takes at most {MAX_SIGNATURES} signatures, not {len(signers)}")
    return cose.sign([key.signer_for("root") for key in keys], document.payload, _HEADERS, document.signatures)


def verify(update: bytes, old: TrustStore) -> TrustStore:
    """The store that replaces `old` by `update`; Refused with the reason that a device would give.

    Checked in this order: size, form, the old quorum over bytes that are not decoded yet, then the new store, its
    version, its own quorum, and that it revokes what it drops.
    """
    document = _open(update)
    old.quorum("root", document.signatures, _WHAT)
    new = trust_store.decode(document.payload)
    if new.version != old.version + 1:
        raise Refused(
            "version",
            f"trust store version {new.version} does not follow version {old.version}",
            f"Versions follow one by one: publish version {old.version + 1} first",
        )
    if not new.role("release"):
        raise Refused("malformed", "the new trust store has no release key, so no update could be accepted")
    new.quorum("root", document.signatures, _WHAT)
    present = {(key.role, key.kid) for key in new.keys}
    dropped = [key.kid for key in old.keys if (key.role, key.kid) not in present]
    for kid in (*old.revoked, *dropped):
        if kid not in new.revoked:
            raise Refused("revoked", f"key {kid.hex()} is dropped, but not listed as revoked")
    return new


def missing(update: bytes, old: TrustStore) -> dict[str, int]:
    """How many more root signatures `update` needs: {"old": n, "new": n}."""
    document = _open(update, least=0)
    new = trust_store.decode(document.payload)
    signers = {signature.kid for signature in document.signatures}
    return {
        name: max(0, store.threshold("root") - sum(key.kid in signers for key in store.role("root")))
        for name, store in (("old", old), ("new", new))
    }


def store_of(update: bytes) -> TrustStore:
    """The store in an update; its signatures are not checked."""
    return trust_store.decode(_open(update, least=0).payload)


def signers(update: bytes) -> list[bytes]:
    """Ids of the keys that an update claims to be signed by; not checked."""
    return [signature.kid for signature in _open(update, least=0).signatures]


def load(path: Path | str) -> bytes:
    """Read a trust update or a proposal."""
    data = read_limited(path, MAX_SIZE, _WHAT)
    store_of(data)
    return data


def _open(update: bytes, least: int = 1) -> cose.Sign:
    document = cose.decode_sign(update, _WHAT, most=MAX_SIGNATURES, least=least, max_size=MAX_SIZE)
    if document.headers != _HEADERS:
        raise Refused("typ", "the message is not typed as a trust update")
    return document
