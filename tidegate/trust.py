"""The trust store: the public keys a device accepts, each with one role (docs/wire.cddl, trust-store)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tidegate import cborstrict, cose
from tidegate.errors import Refused, TidegateError
from tidegate.files import read_limited
from tidegate.keys import ROLES, Key

MAX_SIZE = 1024
MAX_KEYS = 8
_ROLE_NAMES = {number: name for name, number in ROLES.items()}


@dataclass(frozen=True)
class TrustStore:
    """Version number of the store and its keys (public halves only)."""

    version: int
    keys: tuple[Key, ...]

    def find(self, kid: bytes, role: str) -> Key:
        """The key `kid` with `role`; Refused("unknown-key") says whether it is unknown or has another role."""
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
            f"key {kid.hex()} is not in the trust store",
            f"Sign with one of its {role} keys: {self._names(role)}",
        )

    def _names(self, role: str) -> str:
        return ", ".join(key.kid.hex() for key in self.keys if key.role == role) or "it has none"


def make(keys: Iterable[Key], version: int = 1) -> TrustStore:
    """A store of the public halves of `keys`; every key once and in one role only."""
    store = TrustStore(version, tuple(key.public_only() for key in keys))
    _check(store)
    return store


def encode(store: TrustStore) -> bytes:
    """The bytes a device keeps as /tg/trust.cbor."""
    _check(store)
    return cborstrict.dumps({1: store.version, 2: [[ROLES[key.role], cose.cose_key(key.public)] for key in store.keys]})


def decode(data: bytes) -> TrustStore:
    """The store in `data`, or Refused."""
    value = cborstrict.loads(data, "trust store", max_size=MAX_SIZE)
    if not isinstance(value, dict) or set(value) != {1, 2} or not _is_uint(value[1]):
        raise _bad("must be a map of a version and keys")
    if not isinstance(value[2], list) or not 1 <= len(value[2]) <= MAX_KEYS:
        raise _bad(f"must have 1 to {MAX_KEYS} keys")
    store = TrustStore(value[1], tuple(_key(entry) for entry in value[2]))
    if encode(store) != data:  # true passes for 1 in every comparison above
        raise _bad("has a value of the wrong type")
    return store


def load(path: Path | str) -> TrustStore:
    """Read and decode a trust store file."""
    return decode(read_limited(path, MAX_SIZE, "trust store"))


def _key(entry: Any) -> Key:
    if not isinstance(entry, list) or len(entry) != 2 or not isinstance(entry[1], dict):
        raise _bad("has an entry that is not [role, key]")
    role, public = entry[0], entry[1].get(-2)
    if not _is_uint(role) or role not in _ROLE_NAMES:
        raise _bad(f"has a key with the role number {role!r}")
    if not isinstance(public, bytes) or len(public) != 32 or entry[1] != cose.cose_key(public):
        raise _bad("has a key that is not a plain Ed25519 COSE key")
    return Key(_ROLE_NAMES[role], public)


def _check(store: TrustStore) -> None:
    if not 1 <= len(store.keys) <= MAX_KEYS:
        raise TidegateError(
            f"a trust store has 1 to {MAX_KEYS} keys, not {len(store.keys)}", "Name the keys it should hold"
        )
    seen: set[bytes] = set()
    for key in store.keys:
        if key.public in seen:
            raise TidegateError(f"key {key.kid.hex()} is there twice", "A key has one role; make a key for each role")
        seen.add(key.public)


def _is_uint(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _bad(why: str) -> Refused:
    return Refused("malformed", f"the trust store {why}")
