"""Signing keys as JWK files (RFC 8037): a private FILE of mode 0600 and FILE.pub beside it.

Every key has one role, written into the file, and signs only what its role allows; devices hold the
public keys with the same roles in their trust store.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nacl.signing

from tidegate import json_text
from tidegate.errors import TidegateError
from tidegate.files import read_limited, write_atomic
from tidegate.wire import cose

ROLES = {"release": 1, "command": 2, "root": 3, "diagnose": 4}
DEVELOPMENT = "development"  # the mark in a key's file
MAX_FILE = 4096
_DER_HEAD = bytes.fromhex("302a300506032b6570032100")  # SubjectPublicKeyInfo of Ed25519, before the key
_HINT = "Make one with `tidegate key new --role ROLE --out FILE`"


@dataclass(frozen=True)
class Key:
    """An Ed25519 key with its role; `private` is the 32-byte seed, None in a public key. `signs` makes the signatures
    of a key whose private half is elsewhere (tidegate.trust.external_signer)."""

    role: str
    public: bytes
    private: bytes | None = field(default=None, repr=False)
    signs: Callable[[bytes], bytes] | None = field(default=None, repr=False, compare=False)
    development: bool = field(default=False, compare=False)  # made by `tidegate dev`: no store of real boards takes it

    @property
    def kid(self) -> bytes:
        """First 8 bytes of the COSE key thumbprint."""
        return cose.key_id(self.public)

    def public_only(self) -> Key:
        return Key(self.role, self.public, development=self.development)

    def signer_for(self, role: str) -> cose.Signer:
        """What signs with this key, if it may sign what `role` signs."""
        if self.signs is not None and self.role == role:
            return cose.Signer(self.public, self.signs)
        return cose.signer_of(self.seed_for(role))

    def seed_for(self, role: str) -> bytes:
        """The private seed, if this key may sign what `role` signs."""
        if self.role != role:
            raise TidegateError(
                f"key {self.kid.hex()} has the role {self.role}, a {role} key is needed",
                f"Sign with a {role} key",
            )
        if self.private is None:
            raise TidegateError(
                f"key {self.kid.hex()} is a public key, which cannot sign", "Name the file without .pub"
            )
        return self.private


def new(role: str, development: bool = False) -> Key:
    """A fresh key from the operating system's entropy. development: marked as one that real boards must not trust."""
    _check_role(role, "the new key")
    signer = nacl.signing.SigningKey.generate()
    return Key(role, bytes(signer.verify_key), bytes(signer), development=development)


def from_seed(role: str, seed: bytes) -> Key:
    """The key of a known 32-byte seed (test vectors, key ceremonies)."""
    _check_role(role, "the key")
    return Key(role, bytes(nacl.signing.SigningKey(seed).verify_key), seed)


def read_public(data: bytes, role: str, what: str) -> Key:
    """The public key in a PEM or DER file (RFC 8410), as other programs write it, or in 32 bytes as they are."""
    _check_role(role, what)
    lines = data.split(b"\n")
    if data.startswith(b"-----BEGIN PUBLIC KEY-----"):
        with contextlib.suppress(binascii.Error):
            data = base64.b64decode(b"".join(line for line in lines if not line.startswith(b"-----")))
    raw = data.removeprefix(_DER_HEAD)
    if len(raw) != 32:
        raise TidegateError(
            f"{what} has no Ed25519 public key", "With openssl: openssl pkey -in KEY -pubout -out PUBLIC.pem"
        )
    return Key(role, raw)


def save_public(key: Key, path: Path) -> None:
    """Write the public key file of a key whose private half is elsewhere."""
    if path.exists():
        raise TidegateError(f"{path} exists; a key is never overwritten", "Choose another name or move it away")
    write_atomic(path, _to_json(key.public_only()))


def save(key: Key, path: Path | str, *, replace: bool = False) -> Path:
    """Write the private key to `path` (0600) and the public one to `path`.pub; returns the latter."""
    path = Path(path)
    public_path = path.with_name(path.name + ".pub")
    if key.private is None:
        raise TidegateError("a public key cannot be saved as a private one")
    for existing in (path, public_path):
        if existing.exists() and not replace:
            raise TidegateError(f"{existing} exists; a key is never overwritten", "Choose another name or move it away")
    write_atomic(public_path, _to_json(key.public_only()))
    write_atomic(path, _to_json(key), mode=0o600)
    return public_path


def load(path: Path | str) -> Key:
    """Read a private or public key file; refuses a private one that others may read."""
    path = Path(path)
    text = read_limited(path, MAX_FILE, "key file")
    try:
        jwk = json_text.loads(text)
    except (ValueError, RecursionError) as error:
        raise TidegateError(f"{path} is not a key file: {error}", _HINT) from error
    key = _from_jwk(jwk, path)
    if key.private is not None and path.stat().st_mode & 0o077:
        raise TidegateError(
            f"private key {path} can be read by other users", f"Run `chmod 600 {path}` and consider it known"
        )
    return key


def _to_json(key: Key) -> bytes:
    jwk = {"kty": "OKP", "crv": "Ed25519", "x": _b64(key.public)}
    if key.private is not None:
        jwk["d"] = _b64(key.private)
    jwk["kid"] = key.kid.hex()
    jwk["tidegate_role"] = key.role
    if key.development:
        jwk["tidegate_use"] = DEVELOPMENT
    return (json.dumps(jwk, indent=2) + "\n").encode()


def _from_jwk(jwk: Any, path: Path) -> Key:
    if not isinstance(jwk, dict) or (jwk.get("kty"), jwk.get("crv")) != ("OKP", "Ed25519"):
        raise TidegateError(f"{path} is not an Ed25519 key file (JWK with kty OKP, crv Ed25519)", _HINT)
    role = _check_role(jwk.get("tidegate_role"), str(path))
    public = _unb64(jwk.get("x"), "x", path)
    private = _unb64(jwk["d"], "d", path) if "d" in jwk else None
    if private is not None and bytes(nacl.signing.SigningKey(private).verify_key) != public:
        raise TidegateError(f"{path} is damaged: its public and private halves do not belong together")
    key = Key(role, public, private, development=jwk.get("tidegate_use") == DEVELOPMENT)
    if jwk.get("kid", key.kid.hex()) != key.kid.hex():
        raise TidegateError(f"{path} is damaged: its kid is not that of its key")
    return key


def _check_role(role: Any, what: str) -> str:
    if not isinstance(role, str) or role not in ROLES:
        raise TidegateError(f"{what} has the role {role!r}", f"Roles are {', '.join(ROLES)}")
    return role


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _unb64(text: Any, name: str, path: Path) -> bytes:
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (TypeError, binascii.Error, ValueError) as error:
        raise TidegateError(f"{path} is damaged: its field {name!r} is not base64url") from error
    if len(data) != 32:
        raise TidegateError(f"{path} is damaged: its field {name!r} has {len(data)} bytes, not 32")
    return data
