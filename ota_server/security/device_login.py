"""Whether who connects to the broker inside is a device."""

from __future__ import annotations

from sqlalchemy import select

from ota_server.security import password_hashes
from ota_server.store import Store
from ota_server.store.models import Device


def is_right(store: Store, user: str, password: bytes) -> bool:
    """Whether this is a registered device with its password. Refusing an unknown or revoked device takes as long."""
    with store.read() as session:
        known = select(Device.password_hash).where(Device.id == user, Device.revoked_at.is_(None))
        stored = session.scalar(known)
    right = password_hashes.matches(password, stored or password_hashes.NOBODY)
    return right and stored is not None
