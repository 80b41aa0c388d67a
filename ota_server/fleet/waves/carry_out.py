"""Carries out what `judge` says, each step in one transaction that judges again with the rollout locked.

However many servers do it at once, each device is granted a release once, and no more are than may be.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from ota_server.fleet.waves import controls, found, health, subjects
from ota_server.fleet.waves.judge import Verdict, judge
from ota_server.security import audit
from ota_server.store import Store, groups, now_ms, webhooks
from ota_server.store.models import Device, Rollout, RolloutDevice, RolloutEvent

SERVER = "server"  # who does what nobody asked for
_CHUNK = 500


def advance(store: Store, rollout_id: int, now: int | None = None) -> list[str]:
    """Do all that can be done now; the acts that were carried out, for logs and tests. `now` in ms."""
    acts: list[str] = []
    while True:
        at = now_ms() if now is None else now
        with store.read() as session:  # most looks find nothing to do, and then nobody waits for a lock
            rollout = session.get(Rollout, rollout_id)
            if rollout is None or judge(session, rollout, at).act == "wait":
                return acts
        with store.write() as session:
            act = step(session, rollout_id, at)
        if act is None:
            return acts
        acts.append(act)


def step(session: Session, rollout_id: int, now: int) -> str | None:
    """Judge and carry out one act, in the caller's transaction; None if there is nothing to do."""
    groups.lock(session)
    rollout = found.locked(session, rollout_id)
    if rollout is None:
        return None
    verdict = judge(session, rollout, now)
    if verdict.act == "wait":
        return None
    if verdict.act == "grant":
        grant(session, rollout, verdict.grants, now)
    elif verdict.act == "compare":
        terms = found.terms(rollout)
        health.compare(session, rollout, terms, health.due(session, rollout, terms, now), now)
    elif verdict.act == "pause":
        pause(session, rollout, SERVER, verdict.why, now)
    elif verdict.act == "ask":
        ask_gate(session, rollout, verdict.why, now)
    elif verdict.act == "open":
        open_wave(session, rollout, SERVER, verdict.why, now)
    else:
        rollout.state = "done"
        note(session, rollout, "done", SERVER, verdict.why, now)
    return _told(verdict)


def _told(verdict: Verdict) -> str:
    return f"{verdict.act} {len(verdict.grants)}" if verdict.act == "grant" else f"{verdict.act}: {verdict.why}"


def grant(session: Session, rollout: Rollout, chosen: Mapping[str, int], now: int) -> None:
    """Offer it to these devices; the values are their waves."""
    paired = controls.choose(session, rollout, chosen, now)
    lock_devices(session, {*chosen, *paired.values()})
    subject = found.facts(session, rollout)
    known = select(Device.id, Device.board, Device.online).where(Device.id.in_(chosen))
    versions = subjects.versions(session, subject, list(chosen))
    before = {row.device_id: row for row in _rows_of(session, rollout, list(chosen))}
    for device, board, online in session.execute(known.order_by(Device.id)):
        facts: dict[str, Any] = {
            **subjects.granted(subject, board),
            "wave": chosen[device],
            "granted_at": now,
            "withdrawn_at": None,
            "reached_at": now if online else None,
            "state": "offered",
            "state_at": now,
            "why": None,
            "from_version": versions.get(device),
            "control_id": paired.get(device),
        }
        row = before.get(device)
        if row is None:
            session.add(RolloutDevice(rollout_id=rollout.id, device_id=device, **facts))
        else:
            for name, value in facts.items():
                setattr(row, name, value)
    session.flush()
    subjects.offer(session, subject, list(chosen))


def pause(session: Session, rollout: Rollout, by: str, why: str, now: int) -> int:
    """No further offers, and those that no device has taken are withdrawn; returns how many those were."""
    rollout.state, rollout.why = "paused", why[:256]
    withdrawn = withdraw(session, rollout, ("offered",), now)
    note(
        session,
        rollout,
        "paused",
        by,
        f"{why}; {withdrawn} offer{_are(withdrawn)} withdrawn" if withdrawn else why,
        now,
    )
    return withdrawn


def _are(many: int) -> str:
    return " is" if many == 1 else "s are"


def open_wave(session: Session, rollout: Rollout, by: str, why: str, now: int) -> None:
    rollout.wave, rollout.wave_at = rollout.wave + 1, now
    size = found.terms(rollout).waves[rollout.wave - 1]
    note(session, rollout, "wave", by, f"wave {rollout.wave} ({size}) is open: {why}", now)


def ask_gate(session: Session, rollout: Rollout, why: str, now: int) -> None:
    """Tell who checks from outside that a wave is through. It answers with promote, or with pause."""
    gate = found.terms(rollout).gate
    note(session, rollout, "gate", SERVER, why, now, {"wave": rollout.wave}, gate.webhook if gate else None)


def withdraw(session: Session, rollout: Rollout, states: Sequence[str], now: int) -> int:
    """Take the offer back from its devices in these states; returns how many."""
    of = (RolloutDevice.rollout_id == rollout.id) & RolloutDevice.withdrawn_at.is_(None)
    ids = session.scalars(select(RolloutDevice.device_id).where(of, RolloutDevice.state.in_(states))).all()
    lock_devices(session, set(ids))
    gone, subject = 0, found.facts(session, rollout)
    for start in range(0, len(ids), _CHUNK):
        chunk = (RolloutDevice.device_id.in_(ids[start : start + _CHUNK])) & RolloutDevice.state.in_(states)
        done = session.execute(update(RolloutDevice).where(of, chunk).values(withdrawn_at=now))
        gone += done.rowcount  # type: ignore[attr-defined]
        subjects.offer(session, subject, ids[start : start + _CHUNK])
    return gone


def lock_devices(session: Session, ids: set[str]) -> None:
    """Lock them in the order of their ids, as everybody does: two that lock several never wait for each other."""
    ordered = sorted(ids)
    for start in range(0, len(ordered), _CHUNK):
        chunk = ordered[start : start + _CHUNK]
        session.execute(select(Device.id).where(Device.id.in_(chunk)).order_by(Device.id).with_for_update())


def note(
    session: Session,
    rollout: Rollout,
    kind: str,
    by: str,
    why: str | None,
    now: int,
    more: Mapping[str, Any] | None = None,
    webhook: int | None = None,
) -> None:
    """Into the rollout's history and the audit log, and to whoever wants to hear of it.

    webhook: the number of the only one that is to; `more` facts for it.
    """
    session.add(RolloutEvent(rollout_id=rollout.id, at=now, kind=kind, by=by[:80], why=why and why[:256]))
    what = f"{rollout.product} {rollout.version}"
    audit.record(session, by, f"rollout.{kind}", what, sequence=rollout.sequence, rollout=rollout.id, why=why)
    if f"rollout.{kind}" in webhooks.EVENTS:
        facts = {"rollout": rollout.id, "product": rollout.product, "version": rollout.version, "by": by, "why": why}
        webhooks.announce(session, f"rollout.{kind}", {**facts, **(more or {})}, webhook)


def _rows_of(session: Session, rollout: Rollout, ids: Sequence[str]) -> list[RolloutDevice]:
    of = (RolloutDevice.rollout_id == rollout.id) & RolloutDevice.device_id.in_(ids)
    return list(session.scalars(select(RolloutDevice).where(of)))
