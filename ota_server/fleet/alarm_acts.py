"""What people do about alarms: acknowledge them, mute a kind until an end, and end that; each act is in the audit log.

The page and the API do the same through here.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy.orm import Session

from ota_server.errors import NotFound
from ota_server.security import audit
from ota_server.store import alarm_handling, devices, now_ms
from ota_server.store.models import AlarmMute

MOST_AT_ONCE = 500  # alarms acknowledged in one request
LEAST_S, MOST_S = 60, 30 * 86400  # a mute lasts
MAX_TEXT = 200  # of a note or a reason
MAX_KIND = 32


def acknowledge(session: Session, who: str, numbers: Sequence[int], note: str | None) -> list[int]:
    """Those of these alarms that nobody had acknowledged before; `note`: what `who` says about them."""
    found = alarm_handling.acknowledge(session, numbers, who, note)
    if found:
        audit.record(session, who, "alarm.acknowledge", str(found[0]), alarms=found, note=note)
    return found


def mute(session: Session, who: str, kind: str, device: str | None, seconds: int, why: str | None) -> AlarmMute:
    """Alarms of this kind, about the device with this id or name, or about all, call nobody for so long."""
    row = devices.find(session, device) if device is not None else None
    if device is not None and row is None:
        raise NotFound("no-such-device", f"there is no device {device[:64]}", "tidegate device list shows the devices")
    until = now_ms() + seconds * 1000
    found = alarm_handling.mute(session, row.id if row else None, kind, until, who, why)
    audit.record(session, who, "alarm.mute", row.id if row else "all", kind=kind, until=until, why=why)
    return found


def unmute(session: Session, who: str, number: int) -> AlarmMute:
    """End a mute now. Raises NotFound if it is not in force."""
    row = alarm_handling.unmute(session, number)
    if row is None:
        raise NotFound("no-such-mute", f"mute {number} is not in force", "tidegate alarms mutes shows those that are")
    audit.record(session, who, "alarm.unmute", row.device_id or "all", kind=row.kind)
    return row
