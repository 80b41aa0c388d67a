"""Notes what happens to devices and would be forgotten: boots, offers sent, silences that ended, missing packs.

A device's own row has only the newest of each. Everything else in its timeline is read from the tables that have it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import func, insert, select
from sqlalchemy.orm import Session

from ota_server.store.models import DataTarget, DeviceEvent, Target, now_ms

SILENCE_MS = 600_000  # a device that was offline for so long was silent; rollouts call it unreachable then
GAP_MS = 60_000  # gaps of one stream in this time are one event
_CHUNK = 200  # devices in one statement; databases bound the number of parameters


def booted(session: Session, device_id: str, now: int, facts: dict[str, Any]) -> None:
    """A birth of a boot that was not known; `facts` as the birth says them."""
    session.add(DeviceEvent(device_id=device_id, at=now, kind="birth", body=facts))


def heard_again(session: Session, device_id: str, last: int, now: int) -> None:
    """A device that was offline speaks: nothing was heard of it between `last` and `now` (ms)."""
    if now - last >= SILENCE_MS:
        body = {"since": last, "seconds": (now - last) // 1000}
        session.add(DeviceEvent(device_id=device_id, at=now, kind="silence", body=body))


Missing = Mapping[tuple[str, str], tuple[int, int]]  # (device, stream) -> packs, those the device says it dropped


def packs_missing(session: Session, found: Missing) -> None:
    """Packs never came, as the numbers of those that did say; each gap's stream is the one whose pack showed it.

    A link that loses many is one row a minute, with a count.
    """
    now, newest = now_ms(), func.max(DeviceEvent.id)
    device_ids, last = sorted({device_id for device_id, _ in found}), {}
    for start in range(0, len(device_ids), _CHUNK):
        mine = DeviceEvent.device_id.in_(device_ids[start : start + _CHUNK]) & (DeviceEvent.kind == "gap")
        recent = select(newest).where(mine, DeviceEvent.at > now - GAP_MS).group_by(DeviceEvent.device_id)
        for row in session.scalars(select(DeviceEvent).where(DeviceEvent.id.in_(recent))):
            last[row.device_id, row.body["stream"]] = row
    for key, (missing, dropped) in found.items():
        body = {"stream": key[1], "missing": missing, "dropped": dropped}
        if key in last:
            last[key].body = {**body, **{name: last[key].body[name] + body[name] for name in ("missing", "dropped")}}
        else:
            session.add(DeviceEvent(device_id=key[0], at=now, kind="gap", body=body))


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
    facts = {"version": str(version)} if version >= 0 else {}
    _offered(session, [(device_id, {"of": "trust", **facts}) for device_id, _ in rows])


def _offered(session: Session, rows: Sequence[tuple[str, dict[str, Any]]]) -> None:
    now = now_ms()
    session.execute(
        insert(DeviceEvent), [{"device_id": row[0], "at": now, "kind": "offer", "body": row[1]} for row in rows]
    )
