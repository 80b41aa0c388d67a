"""Notes what happens to devices and would be forgotten: boots, offers sent, silences that ended, missing packs.

A device's own row has only the newest of each. Everything else in its timeline is read from the tables that have it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from ota_server.store.models import DataTarget, DeviceEvent, Target, now_ms

SILENCE_MS = 600_000  # a device that was offline for so long was silent; rollouts call it unreachable then
GAP_MS = 60_000  # gaps of one stream in this time are one event


def booted(session: Session, device_id: str, now: int, facts: dict[str, Any]) -> None:
    """A birth of a boot that was not known; `facts` as the birth says them."""
    session.add(DeviceEvent(device_id=device_id, at=now, kind="birth", body=facts))


def heard_again(session: Session, device_id: str, last: int, now: int) -> None:
    """A device that was offline speaks: nothing was heard of it between `last` and `now` (ms)."""
    if now - last >= SILENCE_MS:
        body = {"since": last, "seconds": (now - last) // 1000}
        session.add(DeviceEvent(device_id=device_id, at=now, kind="silence", body=body))


def packs_missing(session: Session, device_id: str, stream: str, missing: int, dropped: int) -> None:
    """Packs of a device never came, as the numbers of its packs say; `stream`: whose pack told it.

    dropped: how many the device says it had no room for. A link that loses many is one row a minute, with a count.
    """
    now = now_ms()
    newest = select(DeviceEvent).where(DeviceEvent.device_id == device_id, DeviceEvent.kind == "gap")
    last = session.scalar(newest.order_by(DeviceEvent.id.desc()).limit(1))
    if last is not None and last.body["stream"] == stream and 0 <= now - last.at < GAP_MS:
        body = last.body
        last.body = {**body, "missing": body["missing"] + missing, "dropped": body["dropped"] + dropped}
        return
    body = {"stream": stream, "missing": missing, "dropped": dropped}
    session.add(DeviceEvent(device_id=device_id, at=now, kind="gap", body=body))


Rows = Sequence[tuple[str, str]]  # (device, data component or "")


def release_offered(session: Session, rows: Rows, target: int) -> None:
    """The broker has taken the offer of a target for these devices; -1: an offer was taken back."""
    found = session.get(Target, target) if target >= 0 else None
    facts = None if found is None else {"version": found.release.version, "sequence": found.release.sequence}
    _offered(session, [(device_id, {"of": "release", **(facts or {})}) for device_id, _ in rows])


def data_offered(session: Session, rows: Rows, target: int) -> None:
    """The same for data components."""
    found = session.get(DataTarget, target) if target >= 0 else None
    facts = None if found is None else {"version": found.version, "sequence": found.sequence}
    _offered(session, [(device_id, {"of": "data", "component": name, **(facts or {})}) for device_id, name in rows])


def trust_offered(session: Session, rows: Rows, version: int) -> None:
    """The same for a trust update."""
    _offered(session, [(device_id, {"of": "trust", "version": str(version)}) for device_id, _ in rows])


def _offered(session: Session, rows: Sequence[tuple[str, dict[str, Any]]]) -> None:
    now = now_ms()
    session.execute(
        insert(DeviceEvent), [{"device_id": row[0], "at": now, "kind": "offer", "body": row[1]} for row in rows]
    )
