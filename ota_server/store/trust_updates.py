"""Trust updates: those published here, and who still needs which. A device takes one version after the other.

One may be held back: then only the devices that a rollout in waves granted it get it, until it is published to all.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import ColumnElement, ScalarSelect, func, or_, select, update
from sqlalchemy.orm import InstrumentedAttribute, Session

from ota_server.store.models import Device, DeviceData, RolloutDevice, TrustUpdate


def newest(session: Session, *, held: bool = False) -> TrustUpdate | None:
    """The newest update that was published to all; with `held`, also one that rollouts hold back."""
    statement = select(TrustUpdate).order_by(TrustUpdate.version.desc()).limit(1)
    return session.scalar(statement if held else statement.where(TrustUpdate.held.is_(False)))


def version_for_all() -> ScalarSelect[int]:
    """The version of the newest update that was published to all, 0 without one, for use in a statement."""
    newest_ = select(func.coalesce(func.max(TrustUpdate.version), 0)).where(TrustUpdate.held.is_(False))
    return newest_.scalar_subquery()


def newest_version(session: Session) -> int:
    """The version of the newest update that was published here to all, 0 without one."""
    return session.scalar(select(version_for_all())) or 0


def may_have(
    version: ColumnElement[int] | InstrumentedAttribute[int] | InstrumentedAttribute[int | None],
) -> ColumnElement[bool]:
    """A row of `Device` may have the update of this version: all may, or a rollout granted it this or a later one."""
    granted = select(RolloutDevice.device_id).where(
        RolloutDevice.device_id == Device.id,
        RolloutDevice.trust_version.is_not(None),
        RolloutDevice.trust_version >= version,
        RolloutDevice.withdrawn_at.is_(None),
    )
    return or_(version <= version_for_all(), granted.correlate_except(RolloutDevice).exists())


def granted(session: Session, device_ids: Sequence[str]) -> dict[str, int]:
    """The newest version that rollouts granted, by device."""
    newest_ = select(RolloutDevice.device_id, func.max(RolloutDevice.trust_version)).where(
        RolloutDevice.device_id.in_(device_ids),
        RolloutDevice.trust_version.is_not(None),
        RolloutDevice.withdrawn_at.is_(None),
    )
    return {row[0]: row[1] or 0 for row in session.execute(newest_.group_by(RolloutDevice.device_id))}


def first_on_the_way(session: Session, version: int) -> int:
    """The first of the updates up to this version of which none is missing here."""
    first = version
    for known in session.scalars(
        select(TrustUpdate.version).where(TrustUpdate.version < version).order_by(TrustUpdate.version.desc())
    ):
        if known != first - 1:
            break
        first = known
    return first


def listed(session: Session) -> list[TrustUpdate]:
    """Oldest first."""
    return list(session.scalars(select(TrustUpdate).order_by(TrustUpdate.version)))


def holders(session: Session) -> dict[int, int]:
    """How many devices said in their last birth that they hold which version."""
    counted = select(Device.trust_version, func.count()).where(Device.trust_version.is_not(None))
    return {int(row[0] or 0): row[1] for row in session.execute(counted.group_by(Device.trust_version))}


def on_birth(session: Session, device: Device, version: int, newest: int) -> bool:
    """Note the version in a device's birth; returns whether the update that follows it is missing here.

    newest: the newest version that it may have.
    """
    if device.trust_version is not None and version > device.trust_version:
        # Other keys count for it from now on: what it refused before, it may take.
        device.failed_sequence = device.offer_sent_id = None
        components = update(DeviceData).where(DeviceData.device_id == device.id, DeviceData.offer_id.is_not(None))
        session.execute(components.values(failed_sequence=None, offer_sent_id=None))
    device.trust_version = version
    if version >= newest:
        return False
    device.trust_sent = None  # the broker may have lost it, or the device: it goes out once more
    return session.get(TrustUpdate, version + 1) is None
