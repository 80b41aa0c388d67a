"""Who may use the server: tokens, sessions of people, and the log of what was done."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, BigInteger, ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from ota_server.store.clock import now_ms
from ota_server.store.models._base import Base, RowId


class Token(Base):
    """An API token; only its SHA-256 is stored."""

    __tablename__ = "token"
    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    name: Mapped[str] = mapped_column(String(64))
    hash: Mapped[str] = mapped_column(String(64), unique=True)
    scopes: Mapped[str] = mapped_column(String(128))
    created_at: Mapped[int] = mapped_column(BigInteger, default=now_ms)
    revoked_at: Mapped[int | None] = mapped_column(BigInteger)


class WebSession(Base):
    """Somebody who is signed in at the page; only the SHA-256 of the cookie is stored.

    Who came with a token may do what the token may, as long as it is valid; others what their role allows.
    """

    __tablename__ = "web_session"
    hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    token_id: Mapped[int | None] = mapped_column(ForeignKey("token.id"))
    who: Mapped[str] = mapped_column(String(80))  # for the audit log
    scopes: Mapped[str] = mapped_column(String(128))
    created_at: Mapped[int] = mapped_column(BigInteger, default=now_ms)
    expires_at: Mapped[int] = mapped_column(BigInteger)


class Audit(Base):
    """One privileged act. Each row's hash covers the row before it, so none can be changed or left out unseen."""

    __tablename__ = "audit"
    __table_args__ = (Index("audit_subject", "subject", "id"),)
    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    at: Mapped[int] = mapped_column(BigInteger)
    actor: Mapped[str] = mapped_column(String(80))
    action: Mapped[str] = mapped_column(String(32))
    subject: Mapped[str] = mapped_column(String(128))
    detail: Mapped[dict[str, Any]] = mapped_column(JSON)
    previous: Mapped[str] = mapped_column(String(64), unique=True)  # unique: two writers cannot fork the chain
    hash: Mapped[str] = mapped_column(String(64), unique=True)
