"""Trust updates: those published here, and who still needs which. A device takes one version after the other."""

from __future__ import annotations

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from ota_server.store.models import Device, DeviceData, TrustUpdate


def newest(session: Session) -> TrustUpdate | None:
    return session.scalar(select(TrustUpdate).order_by(TrustUpdate.version.desc()).limit(1))


def newest_version(session: Session) -> int:
    """The version of the newest update published here, 0 without one."""
    return session.scalar(select(func.max(TrustUpdate.version))) or 0


def listed(session: Session) -> list[TrustUpdate]:
    """Oldest first."""
    return list(session.scalars(select(TrustUpdate).order_by(TrustUpdate.version)))


def holders(session: Session) -> dict[int, int]:
    """How many devices said in their last birth that they hold which version."""
    counted = select(Device.trust_version, func.count()).where(Device.trust_version.is_not(None))
    return {int(row[0] or 0): row[1] for row in session.execute(counted.group_by(Device.trust_version))}


def on_birth(session: Session, device: Device, version: int, newest: int) -> bool:
    """Note the version in a device's birth; returns whether the update that follows it is missing here.

    newest: what `newest_version` says.
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
