"""Which devices want a person's attention: counts of the whole fleet, and the devices in that order."""

from __future__ import annotations

from sqlalchemy import ColumnElement, and_, case, func, or_, select
from sqlalchemy.orm import Session

from ota_server.fleet import offer_state
from ota_server.store import devices, phases
from ota_server.store.models import Device, Release, Target


def _is_busy() -> ColumnElement[bool]:
    return and_(Device.revoked_at.is_(None), Device.update["phase"].as_string().in_(phases.BUSY))


def listed(session: Session, limit: int) -> list[Device]:
    """Those that may be cloned, failed at their update or try it again, then those on trial, then the others by id."""
    state = offer_state.image_state(Target.image_digest, Release.sequence)
    alive = Device.revoked_at.is_(None)
    rank = case(
        (alive & or_(Device.cloned_at.is_not(None), state == "failed"), 0),
        (alive & (state == "retrying"), 1),
        (alive & Device.trial, 2),
        (alive, 3),
        else_=4,
    )
    found = offer_state.joined(select(Device.id)).order_by(rank, Device.id).limit(limit)
    order = {device_id: at for at, device_id in enumerate(session.scalars(found))}
    rows = devices.with_offers(session, select(Device).where(Device.id.in_(order)))
    return sorted(rows, key=lambda row: order[row.id])


def counts(session: Session) -> dict[str, int]:
    """How many devices there are, are online, are updating, try it again, and failed."""
    state, alive = offer_state.image_state(Target.image_digest, Release.sequence), Device.revoked_at.is_(None)
    total, online, busy, retrying, failed = session.execute(
        offer_state.joined(
            select(
                func.count(Device.id),
                func.count(Device.id).filter(Device.online),
                func.count(Device.id).filter(_is_busy()),
                func.count(Device.id).filter(alive & (state == "retrying")),
                func.count(Device.id).filter(alive & (state == "failed")),
            )
        )
    ).one()
    return {"devices": total, "online": online, "updating": busy, "retrying": retrying, "failed": failed}
