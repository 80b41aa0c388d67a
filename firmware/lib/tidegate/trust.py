"""The trust store: the public keys this device accepts, each with one role (trust-store in
docs/wire.cddl).
"""

import cbor
import cose

from tidegate.clock import const
from tidegate.config import ConfigError

RELEASE = const(1)
COMMAND = const(2)
ROOT = const(3)

_MAX_SIZE = const(1024)
_MAX_KEYS = const(8)


class TrustStore:
    """Public keys by role and key id. version: of the store."""

    def __init__(self, version, keys):
        """keys: list of (role, kid, public key), kid 8 bytes, public key 32 bytes."""
        self.version = version
        self._keys = keys

    def find(self, role, kid):
        """The public key of that role and id (bytes), or None."""
        for known_role, known, public in self._keys:
            if known_role == role and known == kid:
                return public
        return None

    def has(self, role):
        return any(known_role == role for known_role, _, _ in self._keys)


def parse(data):
    """The TrustStore in these bytes; raises ValueError that says what is wrong."""
    store = cbor.loads(data, _MAX_SIZE)
    if not isinstance(store, dict) or set(store) != {1, 2}:
        raise ValueError("a trust store is a map of version and keys")
    version, entries = store[1], store[2]
    if (
        not _is_uint(version)
        or not isinstance(entries, list)
        or not 1 <= len(entries) <= _MAX_KEYS
    ):
        raise ValueError("a trust store has a version and 1 to %d keys" % _MAX_KEYS)
    keys = []
    for entry in entries:
        if not isinstance(entry, list) or len(entry) != 2 or not _is_uint(entry[0]):
            raise ValueError("an entry is a role and a key")
        role, key = entry
        if not RELEASE <= role <= ROOT:
            raise ValueError("role %d is unknown" % role)
        # OKP, Ed25519, x and nothing else: the key id is a digest over exactly these.
        if not isinstance(key, dict) or len(key) != 3 or key.get(1) != 1 or key.get(-1) != 6:
            raise ValueError("a key is an Ed25519 COSE_Key")
        public = key.get(-2)
        if not isinstance(public, bytes) or len(public) != 32:
            raise ValueError("an Ed25519 public key has 32 bytes")
        keys.append((role, cose.key_id(public), public))
    return TrustStore(version, keys)


def load(path):
    """The TrustStore in a flashed file; raises ConfigError with the remedy."""
    try:
        with open(path, "rb") as file:
            data = file.read(_MAX_SIZE + 1)
    except OSError:
        raise ConfigError(
            "%s is missing, nothing could be verified; flash it (tidegate flash)" % path
        )
    try:
        store = parse(data)
    except ValueError as error:
        raise ConfigError("%s: %s; flash it again (tidegate flash)" % (path, error))
    if not store.has(RELEASE):
        raise ConfigError(
            "%s holds no release key, so no update could ever be accepted; flash it again" % path
        )
    return store


def _is_uint(value):
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
