"""A rollout in waves for people and programs: its state, its waves, the devices in it, and the one-line why."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Select, case, func, literal, null, or_, select
from sqlalchemy.orm import Session

from ota_server.fleet.waves import budget, found, health, subjects
from ota_server.fleet.waves.judge import judge
from ota_server.store import rollout_states
from ota_server.store.models import Device, Rollout, RolloutDevice, RolloutEvent
from ota_server.store.rollout_states import Waiting
from ota_server.store.rollout_subjects import Facts
from tidegate.rollout import Terms, device_states


def status(session: Session, rollout: Rollout, now: int) -> dict[str, Any]:
    """Everything but the single devices. Times are ms since 1970."""
    terms, release = found.terms(rollout), found.facts(session, rollout)
    tally = budget.tally(session, rollout, terms, found.resumed_at(session, rollout), now)
    waiting = rollout_states.waiting(session, terms, release, now, rollout.id)
    waves = _waves(session, rollout, terms, waiting, now)
    total = dict.fromkeys(device_states.STATES, 0)
    said = _state(terms, release, now).label("said")
    counted = _everyone(rollout, terms, release, now, said, func.count()).group_by(said)
    for name, many in session.execute(counted):
        total[name] += many
    return {
        "product": release.product,
        "kind": release.kind,
        "version": release.version,
        "sequence": release.sequence,
        "rollout": rollout.id,
        "state": rollout.state,
        "why": judge(session, rollout, now, waiting).why,
        "wave": rollout.wave,
        "wave_since": rollout.wave_at,
        "created": rollout.created_at,
        "terms": rollout.terms,
        "waves": waves,
        "counts": total,
        "failed": tally.failed,
        "sample": tally.sample,
        "health": health.evidence(session, rollout, terms, found.resumed_at(session, rollout)),
    }


def _waves(
    session: Session, rollout: Rollout, terms: Terms, waiting: Sequence[Waiting], now: int
) -> list[dict[str, Any]]:
    counted = rollout_states.counts(session, rollout, terms, now)
    granted = sum(many for (_, name), many in counted.items() if name != "waiting")
    due = rollout_states.by_wave(terms, waiting, granted)
    shown = []
    for number, wave in enumerate(terms.waves, 1):
        states = dict.fromkeys(device_states.STATES, 0)
        for (of, name), many in counted.items():
            if of == number and name != "waiting":
                states[name] += many
        states["waiting"] = sum(1 for one in due.values() if one == number)
        shown.append({"wave": number, "size": str(wave), "open": number <= rollout.wave, "counts": states})
    return shown


def devices(
    session: Session, rollout: Rollout, now: int, *, after: str, limit: int, state: str | None
) -> list[dict[str, Any]]:
    """The devices in it and those that it leaves out, by id after `after`; of one state, if it is named."""
    terms, release = found.terms(rollout), found.facts(session, rollout)
    said = _state(terms, release, now)
    why = case(
        (RolloutDevice.device_id.is_(None), rollout_states.why_excused(release)),
        (Device.revoked_at.is_not(None), literal("it is revoked")),
        ((said == "waiting"), literal("its offer was withdrawn before it took it")),
        ((said == "overdue") & (RolloutDevice.state == "offered"), literal(_never_answered(release))),
        else_=RolloutDevice.why,
    )
    row, device = RolloutDevice, Device
    columns = (device.id, device.name, device.group, device.board, device.version, device.last_seen_at, row.wave)
    listed = _everyone(
        rollout, terms, release, now, *columns, row.from_version, row.granted_at, row.state_at, said, why
    )
    listed = listed.where(Device.id > after)
    if state is not None:
        listed = listed.where(said == state)
    names = ("id", "name", "group", "board", "version", "last_seen", "wave", "from", "offered", "since", "state", "why")
    rows = [dict(zip(names, row, strict=True)) for row in session.execute(listed.order_by(Device.id).limit(limit))]
    if release.kind != "release":
        has = subjects.versions(session, release, [row["id"] for row in rows])
        rows = [{**row, "version": has.get(row["id"])} for row in rows]
    return rows


def _never_answered(release: Facts) -> str:
    if release.kind != "data":
        return "it never answered the offer"
    return f"it never answered the offer: its application may not know {release.component}"


def event(row: RolloutEvent) -> dict[str, Any]:
    return {"id": row.id, "at": row.at, "kind": row.kind, "by": row.by, "why": row.why}


def _state(terms: Terms, release: Facts, now: int) -> ColumnElement[str]:
    return case(
        (RolloutDevice.device_id.is_not(None), rollout_states.state(terms.deadline_s, now)),
        (rollout_states.why_excused(release).is_not(null()), "excused"),
        else_="waiting",
    )


def _everyone(rollout: Rollout, terms: Terms, release: Facts, now: int, *columns: Any) -> Select[Any]:
    """`columns` of each device that has the rollout's offer, had it, or is selected."""
    mine = (RolloutDevice.device_id == Device.id) & (RolloutDevice.rollout_id == rollout.id)
    chosen = or_(RolloutDevice.device_id.is_not(None), rollout_states.selected(terms, release, now))
    return select(*columns).select_from(Device).outerjoin(RolloutDevice, mine).where(chosen)
