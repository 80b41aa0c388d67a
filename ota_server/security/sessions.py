"""Who is signed in at the page: a random secret in a cookie, of which the database has the SHA-256.

A session ends with its time, with signing out, and with the token that it began with. A ticket is a session that has
not begun: it stands for its token at the page, once, for a minute, so that no browser needs to be shown the token.
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
TICKET_LASTS_S = 60
TICKET = "tgt_"  # a ticket begins so
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


def ticket_of(session: Session, token: Token, peer: str) -> str:
    """A ticket of who showed this token."""
    ticket = TICKET + secrets.token_urlsafe(32)
    who = f"token:{token.id}:{token.name}"[:80]
    _store(session, _ticket_hash(ticket), who, token.scopes, token.id, TICKET_LASTS_S)
    audit.record(session, who, "session.ticket", who, peer=peer)
    return ticket


def redeem(session: Session, ticket: str) -> Token | None:
    """The token whose ticket this is, if it is still valid; no second time."""
    if not ticket.startswith(TICKET) or len(ticket) > _MAX_COOKIE:
        return None
    row = session.get(WebSession, _ticket_hash(ticket), with_for_update=True)
    if row is None:
        return None
    session.delete(row)
    token = session.get(Token, row.token_id)
    return token if row.expires_at > now_ms() and token is not None and token.revoked_at is None else None


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
    cookie = secrets.token_urlsafe(32)
    _store(session, hash_token(cookie), who, scopes, token_id, LASTS_S)
    audit.record(session, who, "session.open", who, peer=peer)
    return cookie


def _store(session: Session, hashed: str, who: str, scopes: str, token_id: int | None, lasts_s: int) -> None:
    now = now_ms()
    session.execute(delete(WebSession).where(WebSession.expires_at <= now))
    session.add(WebSession(hash=hashed, token_id=token_id, who=who, scopes=scopes, expires_at=now + 1000 * lasts_s))


def _ticket_hash(ticket: str) -> str:
    """Not as a cookie's: a ticket sent as a cookie finds nothing."""
    return hmac.new(ticket.encode(), b"ticket", hashlib.sha256).hexdigest()
