"""Hashes of MQTT passwords, in the form of mosquitto's password file.

One form for both brokers, so that a fleet can move to mosquitto without new passwords on its devices. The hash is
PBKDF2 with mosquitto's own count of 101 rounds: few, and enough, since numbers of 192 bits cannot be guessed.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets

_ROUNDS = 101
_MAX_ROUNDS = 1_000_000
_SALT = 12
_LENGTH = 64


def generate() -> str:
    return secrets.token_urlsafe(24)


def hashed(password: str) -> str:
    """`$7$rounds$salt$hash` (PBKDF2-HMAC-SHA512), as mosquitto 2 writes it."""
    salt = secrets.token_bytes(_SALT)
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, _ROUNDS, _LENGTH)
    return f"$7${_ROUNDS}${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}"


# What a login of an unknown device is compared with, so that it takes as long as one of a known device.
NOBODY = hashed(generate())


def matches(password: bytes, stored: str) -> bool:
    """Compare in constant time. False for a stored value that is not of our form."""
    try:
        empty, kind, rounds, salt, digest = stored.split("$")
        if empty or kind != "7" or not 0 < int(rounds) <= _MAX_ROUNDS:
            return False
        raw_salt, expected = base64.b64decode(salt, validate=True), base64.b64decode(digest, validate=True)
    except (ValueError, binascii.Error):
        return False
    got = hashlib.pbkdf2_hmac("sha512", password, raw_salt, int(rounds), len(expected) or 1)
    return hmac.compare_digest(got, expected)
