"""Rollouts in waves: planned, started, watched, steered.

`version` in the addresses is what is rolled out: 1.4.0 for a release, maps@7 for a data component, trust@4.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Blueprint, g
from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload

from ota_server.api import context, serialize
from ota_server.api.auth import requires
from ota_server.api.rollout_shapes import Promotion, RolloutDevices, RolloutTerms, Why
from ota_server.api.shapes import Since
from ota_server.api.validate import takes
from ota_server.fleet.waves import change, found, preview, show, subjects
from ota_server.fleet.waves.judge import judge
from ota_server.security import tokens
from ota_server.store import Store, now_ms
from ota_server.store.models import Rollout

blueprint = Blueprint("waves", __name__)

_MOST = 100
_PATH = "/rollouts/<product>/<version>/waves"


@blueprint.get("/waves")
@requires("read")
def list_waves() -> dict[str, Any]:
    """The rollouts in waves, newest first, each with its one-line why."""
    now = now_ms()
    with context.store().read() as session:
        statement = select(Rollout).order_by(Rollout.id.desc()).limit(_MOST).options(joinedload(Rollout.release))
        return {"rollouts": [_line(session, one, now) for one in session.scalars(statement)]}


@blueprint.get(_PATH)
@requires("read")
def status(product: str, version: str) -> dict[str, Any]:
    """The state of a rollout in waves: why, waves, counts of devices, the evidence of its gates."""
    with context.store().read() as session:
        return _for_caller(show.status(session, found.get(session, product, version), now_ms()))


@blueprint.get(f"{_PATH}/devices")
@requires("read")
@takes(query=RolloutDevices)
def devices(product: str, version: str, query: RolloutDevices) -> dict[str, Any]:
    """Its devices by id, after the id `after`, each with its state, since when and why."""
    with context.store().read() as session:
        rollout = found.get(session, product, version)
        after = query.after[:32]
        rows = show.devices(session, rollout, now_ms(), after=after, limit=query.rows, state=query.state)
    times = ("last_seen", "offered", "since")
    return {"devices": [{**row, **{name: serialize.iso(row[name]) for name in times}} for row in rows]}


@blueprint.get(f"{_PATH}/history")
@requires("read")
@takes(query=Since)
def history(product: str, version: str, query: Since) -> dict[str, Any]:
    """What happened to it, oldest first, after the event `since`."""
    with context.store().read() as session:
        rows = found.history(session, found.get(session, product, version), query.since or 0, query.rows)
        return {"history": [{**show.event(row), "at": serialize.iso(row.at)} for row in rows]}


@blueprint.post(f"{_PATH}/plan")
@requires("rollout")
@takes(RolloutTerms)
def plan(product: str, version: str, body: RolloutTerms) -> dict[str, Any]:
    """Who would be in which wave, from which version, and what each would download. Changes nothing."""
    with context.store().read() as session:
        facts, release = subjects.find(session, product, version)
        named = tokens.allowed(g.token, "read")
        return preview.preview(session, facts, release, body.terms, now_ms(), name_devices=named)


@blueprint.post(f"{_PATH}/start")
@requires("rollout")
@takes(RolloutTerms)
def start(product: str, version: str, body: RolloutTerms) -> dict[str, Any]:
    """Start it: the first wave is open at once."""
    return _changed(change.start(context.store(), product, version, body.terms, g.actor))


@blueprint.post(f"{_PATH}/pause")
@requires("rollout")
@takes(Why)
def pause(product: str, version: str, body: Why) -> dict[str, Any]:
    """Offer it to nobody more, and withdraw offers that no device has taken."""
    return _steer(change.pause, product, version, body)


@blueprint.post(f"{_PATH}/resume")
@requires("rollout")
@takes(Why)
def resume(product: str, version: str, body: Why) -> dict[str, Any]:
    """Go on; what failed until now is accepted."""
    return _steer(change.resume, product, version, body)


@blueprint.post(f"{_PATH}/abort")
@requires("rollout")
@takes(Why)
def abort(product: str, version: str, body: Why) -> dict[str, Any]:
    """End it for good; who has the release keeps it."""
    return _steer(change.abort, product, version, body)


@blueprint.post(f"{_PATH}/promote")
@requires("rollout")
@takes(Promotion)
def promote(product: str, version: str, body: Promotion) -> dict[str, Any]:
    """Open the next wave now; with `wave` only if that is the newest one, so that a repeated call opens no two."""
    return _changed(change.promote(context.store(), product, version, body.why, g.actor, wave=body.wave))


@blueprint.post(f"{_PATH}/retry")
@requires("rollout")
def retry(product: str, version: str) -> dict[str, Any]:
    """Offer it once more to the devices that failed or are overdue; `retried` names them to who may read."""
    answer = _changed(change.retry(context.store(), product, version, g.actor))
    return answer if tokens.allowed(g.token, "read") else {**answer, "retried": []}


def _steer(
    act: Callable[[Store, str, str, str | None, str], dict[str, Any]], product: str, version: str, body: Why
) -> Any:
    return _changed(act(context.store(), product, version, body.why, g.actor))


def _changed(answer: dict[str, Any]) -> dict[str, Any]:
    context.wake_worker()
    return _for_caller(answer)


def _for_caller(answer: dict[str, Any]) -> dict[str, Any]:
    return {**answer, **{name: serialize.iso(answer[name]) for name in ("created", "wave_since")}}


def _line(session: Session, rollout: Rollout, now: int) -> dict[str, Any]:
    terms = found.terms(rollout)
    return {
        "product": rollout.product,
        "version": rollout.version,
        "sequence": rollout.sequence,
        "rollout": rollout.id,
        "state": rollout.state,
        "to": str(terms.to),
        "wave": rollout.wave,
        "waves": len(terms.waves),
        "created": serialize.iso(rollout.created_at),
        "why": judge(session, rollout, now).why,
    }
