"""Who is signed in at the page: a random secret in a cookie, of which the database has the SHA-256.

A session ends with its time, with signing out, and with the token that it began with.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import NamedTuple

from sqlalchemy import delete
from sqlalchemy.orm import Session

from ota_server.security import audit
from ota_server.security.people import role_of
from ota_server.security.tokens import hash_token
from ota_server.store.models import Token, WebSession, now_ms

LASTS_S = 12 * 3600
_MAX_COOKIE = 64


class Person(NamedTuple):
    """Who is signed in. who: as in the audit log. csrf: what a form of theirs must carry."""

    who: str
    scopes: frozenset[str]
    role: str
    csrf: str

    def may(self, scope: str) -> bool:
        return scope in self.scopes or "admin" in self.scopes


def of_token(session: Session, token: Token, peer: str) -> str:
    """Sign in who showed this token; returns the cookie's value."""
    return _open(session, f"token:{token.id}:{token.name}"[:80], token.scopes, token.id, peer)


def of_person(session: Session, name: str, scopes: str, peer: str) -> str:
    """Sign in somebody for whom another has vouched; returns the cookie's value."""
    return _open(session, f"person:{name}"[:80], scopes, None, peer)


def find(session: Session, cookie: str) -> Person | None:
    """Who has this cookie, if that session goes on."""
    if not cookie or len(cookie) > _MAX_COOKIE:
        return None
    row = session.get(WebSession, hash_token(cookie))
    if row is None or row.expires_at <= now_ms():
        return None
    if row.token_id is not None:
        token = session.get(Token, row.token_id)
        if token is None or token.revoked_at is not None:
            return None
    csrf = hmac.new(cookie.encode(), b"form", hashlib.sha256).hexdigest()[:32]
    return Person(row.who, frozenset(row.scopes.split()), role_of(row.scopes), csrf)


def end(session: Session, cookie: str) -> None:
    """Sign out."""
    row = session.get(WebSession, hash_token(cookie))
    if row is not None:
        audit.record(session, row.who, "session.close", row.who)
        session.delete(row)


def _open(session: Session, who: str, scopes: str, token_id: int | None, peer: str) -> str:
    cookie, now = secrets.token_urlsafe(32), now_ms()
    session.execute(delete(WebSession).where(WebSession.expires_at <= now))
    session.add(
        WebSession(
            hash=hash_token(cookie), token_id=token_id, who=who, scopes=scopes, expires_at=now + 1000 * LASTS_S
        )
    )  # fmt: skip
    audit.record(session, who, "session.open", who, peer=peer)
    return cookie
