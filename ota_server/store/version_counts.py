"""How many devices ran which version, over the last days: a count every six hours, of devices that were born.

Births say it, too, but a device has at most 500 of those stored, and the overview is rendered every two seconds.
"""

from __future__ import annotations

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from ota_server.store.engine import insert_or_update
from ota_server.store.models import Device, VersionCount

SLOT_MS = 6 * 3_600_000
KEEP_MS = 31 * 86_400_000
MOST_VERSIONS = 50  # of a product in one slot; devices with rarer ones count as ""


def note(session: Session, now: int) -> None:
    """Count now, in place of what was counted in these six hours before; forget what is too old. now: ms since 1970."""
    slot = now - now % SLOT_MS
    by = (Device.product, Device.version)
    counted = select(*by, func.count()).where(Device.revoked_at.is_(None), Device.version.is_not(None)).group_by(*by)
    found: dict[tuple[str, str], int] = {}
    seen: dict[str, int] = {}
    for product, version, many in sorted(session.execute(counted), key=lambda row: -row[2]):
        seen[product] = seen.get(product, 0) + 1
        key = (product, str(version) if seen[product] <= MOST_VERSIONS else "")
        found[key] = found.get(key, 0) + many
    session.execute(delete(VersionCount).where((VersionCount.slot == slot) | (VersionCount.slot < now - KEEP_MS)))
    for (product, version), many in found.items():
        first = insert_or_update(session, VersionCount)
        first = first.values(slot=slot, product=product, version=version, devices=many)
        keys = ["slot", "product", "version"]
        session.execute(first.on_conflict_do_update(index_elements=keys, set_={"devices": many}))


def since(session: Session, at: int) -> list[VersionCount]:
    """Counts from then on (ms since 1970), oldest first."""
    return list(session.scalars(select(VersionCount).where(VersionCount.slot >= at).order_by(VersionCount.slot)))
