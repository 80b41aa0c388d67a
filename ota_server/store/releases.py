"""Releases and payload records."""

from __future__ import annotations

from sqlalchemy import func, select
from sqlalchemy.orm import Session, selectinload

from .models import Payload, Release


def find(session: Session, product: str, sequence: int) -> Release | None:
    return session.scalar(
        select(Release)
        .where(Release.product == product, Release.sequence == sequence)
        .options(selectinload(Release.targets))
    )


def newest(session: Session, product: str) -> Release | None:
    return session.scalar(select(Release).where(Release.product == product).order_by(Release.sequence.desc()).limit(1))


def listed(session: Session, limit: int, product: str | None = None) -> list[Release]:
    """Newest first."""
    wanted = select(Release).order_by(Release.id.desc()).limit(limit).options(selectinload(Release.targets))
    if product is not None:
        wanted = wanted.where(Release.product == product)
    return list(session.scalars(wanted))


def stored_bytes(session: Session) -> int:
    """The size of all payloads together."""
    return session.scalar(select(func.coalesce(func.sum(Payload.size), 0))) or 0
