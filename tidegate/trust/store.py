"""The trust store: the public keys a device accepts, by role, and how many of a role must sign.

docs/wire.cddl (trust-store) has the format, docs/trust.md the rules. How one version follows another is in
`tidegate.trust.rotation`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tidegate.errors import Refused, TidegateError
from tidegate.files import read_limited
from tidegate.trust.keys import ROLES, Key
from tidegate.wire import cbor, cose

MAX_SIZE = 1024
MAX_KEYS = 8
MAX_THRESHOLD = 4
MAX_REVOKED = 64
MAX_VERSION = 2**32 - 1
_ROLE_NAMES = {number: name for name, number in ROLES.items()}


@dataclass(frozen=True)
class TrustStore:
    """One version: its keys (public halves), how many of a role must sign (1 where `thresholds` says nothing), and the
    ids of keys that are never accepted again."""

    version: int
    keys: tuple[Key, ...]
    thresholds: Mapping[str, int] = field(default_factory=dict)
    revoked: tuple[bytes, ...] = ()

    def threshold(self, role: str) -> int:
        return self.thresholds.get(role, 1)

    def role(self, role: str) -> tuple[Key, ...]:
        """The keys of a role."""
        return tuple(key for key in self.keys if key.role == role)

    def find(self, kid: bytes, role: str) -> Key:
        """The key `kid` with `role`; Refused("unknown-key") says whether it is unknown, revoked or of another role."""
        known = [key for key in self.keys if key.kid == kid]
        for key in known:
            if key.role == role:
                return key
        if known:
            raise Refused(
                "unknown-key", f"key {kid.hex()} has the role {known[0].role}, not {role}", f"Sign with a {role} key"
            )
        raise Refused(
            "unknown-key",
            f"key {kid.hex()} {'was revoked' if kid in self.revoked else 'is not in the trust store'}",
            f"Sign with one of its {role} keys: {self._names(role)}",
        )

    def quorum(self, role: str, signatures: Sequence[cose.Signature], what: str) -> list[Key]:
        """The role's keys that signed `what`; Refused if they are too few.

        A signature by an unknown key is ignored, so that a message may be signed for the stores before and after
        a rotation; a wrong one by a known key is always refused, as on the device.
        """
        good: list[Key] = []
        unknown: list[Refused] = []
        for signature in signatures:
            try:
                key = self.find(signature.kid, role)
            except Refused as refusal:
                unknown.append(refusal)
                continue
            if key in good:
                raise Refused("malformed", f"the {what} is signed twice by key {key.kid.hex()}")
            if not signature.by(key.public):
                raise Refused("signature", f"the {what}'s signature is not by key {key.kid.hex()}")
            good.append(key)
        if not good:
            raise unknown[0]
        if len(good) < self.threshold(role):
            raise Refused(
                "threshold",
                f"the {what} has {len(good)} of {self.threshold(role)} {role} signatures",
                f"Sign it with more of the {role} keys: {self._names(role)}",
            )
        return good

    def _names(self, role: str) -> str:
        return ", ".join(key.kid.hex() for key in self.keys if key.role == role) or "it has none"


def make(
    keys: Iterable[Key],
    version: int = 1,
    thresholds: Mapping[str, int] | None = None,
    revoked: Iterable[bytes] = (),
    development: bool = False,
) -> TrustStore:
    """A store of the public halves of `keys`, by role; every key once and in one role only.

    A development key, whose private half lies about unprotected, is refused unless the store is for `development`.
    """
    keys = list(keys)
    for key in keys:
        if key.development and not development:
            raise TidegateError(
                f"the {key.role} key {key.kid.hex()} is a development key, which boards in the field must not trust",
                f"Make one for them: tidegate key new --role {key.role} --out FILE",
            )
    ordered = sorted((key.public_only() for key in keys), key=lambda key: ROLES[key.role])
    raised = {role: number for role, number in (thresholds or {}).items() if number != 1}
    store = TrustStore(version, tuple(ordered), raised, tuple(revoked))
    check(store)
    return store


def encode(store: TrustStore) -> bytes:
    """The bytes a device keeps as /tg/trust.cbor."""
    check(store)
    roles: dict[int, list[Any]] = {}
    for key in store.keys:
        roles.setdefault(ROLES[key.role], [store.threshold(key.role), []])[1].append(cose.cose_key(key.public))
    return cbor.dumps({1: store.version, 2: roles, 3: list(store.revoked)})


def decode(data: bytes) -> TrustStore:
    """The store in `data`, or Refused."""
    value = cbor.loads(data, "trust store", max_size=MAX_SIZE)
    if not isinstance(value, dict) or set(value) != {1, 2, 3}:
        raise _bad("must be a map of a version, roles and revoked keys")
    version, roles, revoked = value[1], value[2], value[3]
    if not _is_int(version) or not isinstance(roles, dict) or not isinstance(revoked, list):
        raise _bad("must be a map of a version, roles and revoked keys")
    if not all(isinstance(kid, bytes) for kid in revoked):
        raise _bad(f"must name revoked keys by {cose.KID_SIZE} bytes")
    keys: list[Key] = []
    thresholds: dict[str, int] = {}
    for number, entry in roles.items():
        if number not in _ROLE_NAMES or not isinstance(number, int):
            raise _bad(f"has the role number {number!r}")
        if not isinstance(entry, list) or len(entry) != 2 or not isinstance(entry[1], list):
            raise _bad("has a role that is not a threshold and keys")
        if not _is_int(entry[0]):
            raise _bad(f"has the threshold {entry[0]!r}")
        thresholds[_ROLE_NAMES[number]] = entry[0]
        keys += [_key(_ROLE_NAMES[number], item) for item in entry[1]]
    try:
        store = make(keys, version, thresholds, revoked)
        for name in thresholds:  # make() drops thresholds of 1, also of roles without keys
            if not store.role(name):
                raise _bad(f"has the role {name} without keys")
    except Refused:
        raise
    except TidegateError as error:
        raise Refused("malformed", error.message, error.remedy) from error
    if encode(store) != data:  # True equals 1 in every comparison above
        raise _bad("has a value of the wrong type")
    return store


def load(path: Path | str) -> TrustStore:
    """Read and decode a trust store file."""
    data = read_limited(path, MAX_SIZE, "trust store")
    if data.startswith(b"{"):
        raise TidegateError(
            f"{path} is JSON, as keys are, and not a trust store",
            "Make one of your public keys: tidegate trust new --out trust.cbor release.jwk.pub command.jwk.pub ...",
        )
    return decode(data)


def _key(role: str, entry: Any) -> Key:
    public = entry.get(-2) if isinstance(entry, dict) else None
    if not isinstance(public, bytes) or len(public) != 32 or entry != cose.cose_key(public):
        raise _bad("has a key that is not a plain Ed25519 COSE key")
    return Key(role, public)


def check(store: TrustStore) -> None:
    """Raise TidegateError if `store` breaks a limit of docs/wire.cddl."""
    if not 1 <= store.version <= MAX_VERSION:
        raise TidegateError(f"a trust store's version is 1 to {MAX_VERSION}, not {store.version}")
    if not 1 <= len(store.keys) <= MAX_KEYS:
        raise TidegateError(
            f"a trust store has 1 to {MAX_KEYS} keys, not {len(store.keys)}", "Name the keys it should hold"
        )
    seen: set[bytes] = set()
    for key in store.keys:
        if key.kid in seen:
            raise TidegateError(f"key {key.kid.hex()} is given twice", "A key has one role; make a key for each role")
        seen.add(key.kid)
    for role, number in store.thresholds.items():
        there = len(store.role(role))
        if not 1 <= number <= min(MAX_THRESHOLD, there):
            raise TidegateError(
                f"the threshold of {role} is {number}, with {there} keys of that role",
                f"A threshold is 1 to {MAX_THRESHOLD}, and at most the number of keys",
            )
    if len(store.revoked) > MAX_REVOKED:
        raise TidegateError(
            f"a trust store lists at most {MAX_REVOKED} revoked keys",
            "Flash the boards with a store of new keys, version 1",
        )
    for kid in store.revoked:
        if len(kid) != cose.KID_SIZE:
            raise TidegateError(f"a revoked key is named by {cose.KID_SIZE} bytes, not {len(kid)}")
        if kid in seen:
            raise TidegateError(f"key {kid.hex()} was revoked, for good", "Make a new key with `tidegate key new`")
        seen.add(kid)


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _bad(why: str) -> Refused:
    return Refused("malformed", f"the trust store {why}")
