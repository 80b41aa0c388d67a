"""API tokens: 256 random bits, kept only as SHA-256, compared in constant time, each with its scopes.

A plain hash is enough because there is nothing to guess: a dictionary does not contain random numbers of 256 bits.
"""

from __future__ import annotations

import functools
import hashlib
import hmac
import secrets
from collections.abc import Callable, Iterable
from typing import Any

from flask import current_app, g, request
from sqlalchemy import select
from sqlalchemy.orm import Session

from ota_server.errors import Problem
from ota_server.store import Store
from ota_server.store.models import Token
from tidegate.errors import TidegateError
from tidegate.names import CHANNEL

SCOPES = ("admin", "publish", "rollout", "devices", "command", "read")
IN_CHANNEL = "publish:"  # with a channel after it: publish releases, and only into that one
PREFIX = "tg_"  # lets people and secret scanners recognise one
_MAX_TOKEN = 128
_MAX_SCOPES = 128


def hash_token(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def new_token(session: Session, name: str, scopes: Iterable[str]) -> str:
    """Make a token and return it: the only time it is readable."""
    wanted = sorted(set(scopes))
    token = PREFIX + secrets.token_urlsafe(32)
    session.add(Token(name=name, hash=hash_token(token), scopes=" ".join(wanted)))
    return token


def find_token(session: Session, token: str) -> Token | None:
    """The live token with this secret.

    The database is asked for the hash, so what an attacker could time is a comparison of hashes that he cannot choose
    freely; the row found is compared once more in constant time.
    """
    if not token.startswith(PREFIX) or len(token) > _MAX_TOKEN:
        return None
    hashed = hash_token(token)
    found = session.scalar(select(Token).where(Token.hash == hashed, Token.revoked_at.is_(None)))
    return found if found is not None and hmac.compare_digest(found.hash, hashed) else None


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
        raise TidegateError("--channel narrows the scope publish, which is not given", "Add --scope publish")
    kept = (*(scope for scope in scopes if scope != "publish"), *limited)
    if len(" ".join(kept)) > _MAX_SCOPES:
        raise TidegateError("these are more channels than one token can have", "Make several tokens")
    return kept


def channels(token: Token) -> set[str]:
    """The channels that the token may publish into, where it may not publish into all."""
    return {scope.removeprefix(IN_CHANNEL) for scope in token.scopes.split() if scope.startswith(IN_CHANNEL)}


def requires(scope: str, *, in_channel: bool = False) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorator of a view: the caller must show a token with `scope` (or admin); with `in_channel`, one that may
    publish into some channels will do.

    Sets `g.actor` for the audit log, `g.token`, and `g.channels`: those channels, or None for all.
    """

    def decorate(view: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(view)
        def checked(*args: Any, **kwargs: Any) -> Any:
            kind, _, value = request.headers.get("Authorization", "").partition(" ")
            store: Store = current_app.extensions["store"]
            with store.read() as session:
                token = find_token(session, value.strip()) if kind.lower() == "bearer" else None
            if token is None:
                raise Problem(
                    401,
                    "unauthorised",
                    "no valid API token was sent" if not value else "the API token is not valid",
                    "Send the header Authorization: Bearer TOKEN; make one with: tidegate token new",
                    WWW_Authenticate='Bearer realm="tidegate"',
                )
            g.channels = None if allowed(token, scope) else channels(token)
            if not (g.channels is None or (in_channel and g.channels)):
                raise Problem(
                    403,
                    "forbidden",
                    f"the token {token.name!r} has the scopes {token.scopes!r}, and this needs {scope!r}",
                    f"Make one with: tidegate token new --scope {scope}",
                )
            g.token = token
            g.actor = f"token:{token.id}:{token.name}"
            return view(*args, **kwargs)

        return checked

    return decorate
