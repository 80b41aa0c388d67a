"""API tokens: 256 random bits, stored only as SHA-256, compared in constant time, each with its scopes.

A plain hash is enough because there is nothing to guess: a dictionary does not contain random numbers of 256 bits.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterable

from sqlalchemy import select
from sqlalchemy.orm import Session

from ota_server.store import Store
from ota_server.store.models import Token
from tidegate.errors import TidegateError
from tidegate.names import CHANNEL

SCOPES = ("admin", "publish", "rollout", "devices", "command", "read", "metrics")
IN_CHANNEL = "publish:"  # with a channel after it: publish releases, and only into that one
PREFIX = "tg_"  # lets people and secret scanners recognise one
_MAX_TOKEN = 128
_MAX_SCOPES = 128


def hash_token(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def new_token(session: Session, name: str, scopes: Iterable[str]) -> str:
    """Make a token and return it: the only time it is readable."""
    names = sorted(set(scopes))
    token = PREFIX + secrets.token_urlsafe(32)
    session.add(Token(name=name, hash=hash_token(token), scopes=" ".join(names)))
    return token


def find_token(session: Session, token: str) -> Token | None:
    """The live token with this secret.

    The database looks up the hash, so an attacker could only time a comparison of hashes that they cannot choose
    freely; the row found is compared once more in constant time.
    """
    if not token.startswith(PREFIX) or len(token) > _MAX_TOKEN:
        return None
    hashed = hash_token(token)
    found = session.scalar(select(Token).where(Token.hash == hashed, Token.revoked_at.is_(None)))
    return found if found is not None and hmac.compare_digest(found.hash, hashed) else None


def holder(store: Store, token: str) -> int | None:
    """Whose token this is, as a number; None if it is not valid."""
    with store.read() as session:
        found = find_token(session, token)
        return None if found is None else found.id


def allowed(token: Token, scope: str) -> bool:
    scopes = token.scopes.split()
    return scope in scopes or "admin" in scopes


def in_channels(scopes: Iterable[str], names: Iterable[str]) -> tuple[str, ...]:
    """The scopes, with that to publish narrowed to the channels `names`, if there are any."""
    limited = tuple(f"{IN_CHANNEL}{name}" for name in names)
    for name in names:
        CHANNEL.check(name)
    if not limited:
        return tuple(scopes)
    if "publish" not in scopes:
        raise TidegateError("--channel narrows the scope publish, which is missing", "Add --scope publish")
    narrowed = (*(scope for scope in scopes if scope != "publish"), *limited)
    if len(" ".join(narrowed)) > _MAX_SCOPES:
        raise TidegateError("these are more channels than one token can have", "Make several tokens")
    return narrowed


def channels(token: Token) -> set[str]:
    """The channels that the token may publish into, where it may not publish into all."""
    return {scope.removeprefix(IN_CHANNEL) for scope in token.scopes.split() if scope.startswith(IN_CHANNEL)}
