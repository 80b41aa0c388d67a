"""What rollouts in waves have granted to devices: the one place that says which device may be offered what.

A grant stands until it is withdrawn. It gives way to a release of its group's channel that is newer, to a pinned group,
and to what the device runs.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, func, select, update
from sqlalchemy.orm import Session

from ota_server.store.models import Device, Release, RolloutDevice, Target


def any_of(session: Session, product: str) -> bool:
    """Whether any device of the product has a grant; most fleets have none, and then nothing more is looked for."""
    found = select(RolloutDevice.device_id).join(Target).join(Release).where(Release.product == product)
    return session.scalar(found.limit(1)) is not None


def standing(above: int) -> ColumnElement[bool]:
    """The device has a grant of a newer release than `above`, and than what it runs."""
    return _grants(above).exists()


def offer(session: Session, alike: ColumnElement[bool], above: int) -> int:
    """Offer to devices that are `alike` the newest of their grants above this sequence; how many got another one."""
    newest = _grants(above).order_by(Release.sequence.desc()).limit(1).scalar_subquery()
    new = update(Device).where(
        alike, Device.revoked_at.is_(None), standing(above), Device.offer_id.is_distinct_from(newest)
    )
    return session.execute(new.values(offer_id=newest)).rowcount  # type: ignore[attr-defined]


def _grants(above: int) -> Any:
    return (
        select(RolloutDevice.target_id)
        .join(Target, Target.id == RolloutDevice.target_id)
        .join(Release, Release.id == Target.release_id)
        .where(
            RolloutDevice.device_id == Device.id,
            RolloutDevice.withdrawn_at.is_(None),
            Target.withdrawn.is_(False),
            Release.sequence > above,
            Release.sequence >= func.coalesce(Device.sequence, 0),
        )
        .correlate(Device)
    )
