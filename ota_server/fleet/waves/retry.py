"""Has the devices of a rollout in waves that failed try it again."""

from __future__ import annotations

from sqlalchemy import update
from sqlalchemy.orm import Session

from ota_server.fleet.waves import carry_out, found, subjects
from ota_server.store import now_ms, rollout_states
from ota_server.store.models import RolloutDevice
from tidegate.rollout import device_states


def again(session: Session, product: str, version: str, actor: str, now: int | None = None) -> list[str]:
    """Offer it once more to its devices that failed or are overdue; their ids. The caller holds `groups.lock`."""
    now = now or now_ms()
    rollout = found.newest(session, product, version)
    if rollout is None or rollout.state == "aborted":
        return []
    terms, subject = found.terms(rollout), found.facts(session, rollout)
    bad = rollout_states.rows(rollout, now, terms.deadline_s)
    bad = bad.where(rollout_states.state(terms.deadline_s, now).in_(device_states.FAILED))
    ids = [device.id for _, device, _ in session.execute(bad)]
    carry_out.lock_devices(session, set(ids))
    of = (RolloutDevice.rollout_id == rollout.id) & RolloutDevice.device_id.in_(ids)
    anew = {"state": "offered", "state_at": now, "granted_at": now, "reached_at": None, "withdrawn_at": None}
    session.execute(update(RolloutDevice).where(of).values(**anew, why="to be tried again"))
    subjects.offer(session, subject, ids)
    subjects.offer_again(session, subject, ids)
    if ids:
        carry_out.note(session, rollout, "retried", actor, f"{len(ids)} devices", now)
    return ids
