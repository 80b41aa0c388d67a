"""Labels: keys and values that people give devices, to select them by."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from ota_server.store.models import DeviceLabel

MOST = 16  # of one device


def of(session: Session, device_id: str) -> dict[str, str]:
    """By key."""
    rows = select(DeviceLabel).where(DeviceLabel.device_id == device_id).order_by(DeviceLabel.key)
    return {row.key: row.value for row in session.scalars(rows)}


def change(session: Session, device_id: str, labels: Mapping[str, str | None]) -> dict[str, str]:
    """Set these labels, and take away those that are None; all that the device has then. The caller bounds them."""
    session.execute(delete(DeviceLabel).where(DeviceLabel.device_id == device_id, DeviceLabel.key.in_(list(labels))))
    session.add_all(
        DeviceLabel(device_id=device_id, key=key, value=value) for key, value in labels.items() if value is not None
    )
    session.flush()
    return of(session, device_id)
