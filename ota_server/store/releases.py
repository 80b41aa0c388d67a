"""Releases and payload records."""

from __future__ import annotations

from sqlalchemy import func, select
from sqlalchemy.orm import Session, selectinload

from ota_server.store.models import Payload, Release, Target
from ota_server.store.pages import MOST_ID


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
    statement = select(Release).order_by(Release.id.desc()).limit(limit).options(selectinload(Release.targets))
    if product is not None:
        statement = statement.where(Release.product == product)
    return list(session.scalars(statement))


def stored_bytes(session: Session) -> int:
    """The size of all payloads together."""
    return session.scalar(select(func.coalesce(func.sum(Payload.size), 0))) or 0


def before(session: Session, product: str, sequence: int, limit: int, version: str | None = None) -> list[Release]:
    """The newest releases with a number below `sequence`, newest first, that were not withdrawn."""
    statement = select(Release).where(Release.product == product, Release.sequence < sequence)
    if version is not None:
        statement = statement.where(Release.version == version)
    statement = statement.where(Release.targets.any(Target.withdrawn.is_(False)))
    return list(
        session.scalars(statement.order_by(Release.sequence.desc()).limit(limit).options(selectinload(Release.targets)))
    )


def by_version(session: Session, product: str, version: str) -> Release | None:
    """The newest release of this version; a version that was published again has several."""
    found = before(session, product, MOST_ID, 1, version)
    return found[0] if found else None


def by_image(session: Session, product: str, digest: str) -> Release | None:
    """The newest release with this image."""
    statement = select(Release).join(Target).where(Release.product == product, Target.image_digest == digest)
    return session.scalar(statement.order_by(Release.sequence.desc()).limit(1))
