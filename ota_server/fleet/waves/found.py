"""Looks rollouts in waves up, and reads what they are."""

from __future__ import annotations

from sqlalchemy import func, select
from sqlalchemy.orm import Session, joinedload, selectinload

from ota_server.errors import NotFound
from ota_server.store import rollout_subjects
from ota_server.store.models import Release, Rollout, RolloutEvent
from ota_server.store.rollout_subjects import Facts
from tidegate.rollout import Terms
from tidegate.rollout import terms as terms_of


def newest(session: Session, product: str, version: str) -> Rollout | None:
    """The last rollout in waves of this version (tidegate.rollout.subject); one of what was withdrawn, too."""
    statement = select(Rollout).outerjoin(Release, Release.id == Rollout.release_id)
    if "@" in version:
        statement = statement.where(Rollout.subject_product == product, Rollout.subject_version == version)
    else:
        statement = statement.where(Release.product == product, Release.version == version)
    return session.scalar(statement.order_by(Rollout.id.desc()).limit(1).options(joinedload(Rollout.release)))


def get(session: Session, product: str, version: str) -> Rollout:
    """Raises NotFound."""
    found = newest(session, product, version)
    if found is None:
        raise NotFound(
            "no-such-rollout",
            f"{product} {version} is not rolled out in waves",
            f"Start it: tidegate rollout start {version} --to all --waves 1%,10%,100%",
        )
    return found


def locked(session: Session, rollout_id: int) -> Rollout | None:
    """The rollout as it is now; nobody changes it before this transaction ends. The caller holds `groups.lock`."""
    statement = select(Rollout).where(Rollout.id == rollout_id).options(selectinload(Rollout.release))
    return session.scalar(statement.with_for_update().execution_options(populate_existing=True))


def active(session: Session) -> list[Rollout]:
    """Those that run, and of the done ones the last of each product, component and selector, for newcomers."""
    running = list(session.scalars(select(Rollout).where(Rollout.state == "running").order_by(Rollout.id)))
    last: dict[tuple[str, str, str], Rollout] = {}
    done = select(Rollout).where(Rollout.state == "done").order_by(Rollout.id).options(joinedload(Rollout.release))
    for one in session.scalars(done):
        component, at, _ = one.version.partition("@")
        last[one.product, component if at else "", one.terms["to"]] = one
    return running + list(last.values())


def terms(rollout: Rollout) -> Terms:
    return terms_of.parse(rollout.terms)


def facts(session: Session, rollout: Rollout) -> Facts:
    return rollout_subjects.of_rollout(session, rollout)


def resumed_at(session: Session, rollout: Rollout) -> int:
    """When a person let it go on last, in ms; 0 if nobody did. What had failed before counts no more."""
    statement = select(func.max(RolloutEvent.at)).where(
        RolloutEvent.rollout_id == rollout.id, RolloutEvent.kind == "resumed"
    )
    return session.scalar(statement) or 0


def asked_at(session: Session, rollout: Rollout) -> int | None:
    """When the gate was asked about the newest wave, in ms; None if it has to be asked, perhaps once more."""
    since = max(rollout.wave_at, resumed_at(session, rollout))
    statement = select(func.max(RolloutEvent.at)).where(
        RolloutEvent.rollout_id == rollout.id, RolloutEvent.kind == "gate", RolloutEvent.at >= since
    )
    return session.scalar(statement)


def history(session: Session, rollout: Rollout, after: int, limit: int) -> list[RolloutEvent]:
    """Its events after the one with this id, oldest first."""
    statement = select(RolloutEvent).where(RolloutEvent.rollout_id == rollout.id, RolloutEvent.id > after)
    return list(session.scalars(statement.order_by(RolloutEvent.id).limit(limit)))
