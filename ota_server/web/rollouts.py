"""Rollouts in waves: how far they are, why they wait, what their gates have seen; pause, resume, promote, abort."""

from __future__ import annotations

from collections import defaultdict
from math import log

from flask import Response, redirect, request, url_for
from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload
from werkzeug.wrappers import Response as Redirect

from ota_server.api import context
from ota_server.errors import Invalid
from ota_server.fleet.waves import change, found, sequential
from ota_server.fleet.waves import show as shown
from ota_server.fleet.waves.judge import judge
from ota_server.releases import slo
from ota_server.store import now_ms
from ota_server.store.models import Rollout, RolloutEvidence
from ota_server.web import page
from ota_server.web.session import signed_in, who
from tidegate.rollout.durations import words

_MOST = 50
_HISTORY = 30
_TROUBLE = 30
_STEPS = 120  # points of a curve
_ACTS = {"pause": change.pause, "resume": change.resume, "promote": change.promote, "abort": change.abort}


@signed_in("read")
def listed() -> Response:
    now = now_ms()
    with context.store().read() as session:
        statement = select(Rollout).order_by(Rollout.id.desc()).limit(_MOST).options(joinedload(Rollout.release))
        rows = [(row, found.terms(row), judge(session, row, now).why) for row in session.scalars(statement)]
        return page.show("rollouts.html", rollouts=rows)


@signed_in("read")
def show(product: str, version: str) -> Response:
    now = now_ms()
    with context.store().read() as session:
        row = found.get(session, product, version)
        status = shown.status(session, row, now)
        trouble = [
            one
            for state in ("failed", "rolled-back", "refused", "overdue")
            if status["counts"][state]
            for one in shown.devices(session, row, now, after="", limit=_TROUBLE, state=state)
        ]
        events = found.history(session, row, 0, 10_000)
        curves = _curves(session, row)
        for test in status["health"]:
            test["curve"] = _drawn(curves.get((test["measure"], test["exposure_s"]), []), test["limit"])
            test["after"] = words(test["exposure_s"])
        return page.show(
            "rollout.html",
            rollout=row,
            status=status,
            terms=found.terms(row),
            budget=slo.show(session, product, now),
            trouble=trouble[:_TROUBLE],
            history=list(reversed(events))[:_HISTORY],
        )


@signed_in("rollout")
def steer(product: str, version: str, act: str) -> Redirect:
    """POST: why. Pause, resume, promote or abort it."""
    if act not in _ACTS:
        raise Invalid("invalid-parameter", "a rollout cannot do that", f"It can {', '.join(_ACTS)}")
    _ACTS[act](context.store(), product, version, request.form.get("why", "").strip()[:200] or None, who())
    context.wake_worker()
    return redirect(url_for("web.rollout", product=product, version=version), 303)


def _curves(session: Session, rollout: Rollout) -> dict[tuple[str, int], list[int]]:
    """The losses of each test, in the order in which they were found, since a person let the rollout go on."""
    since = found.resumed_at(session, rollout)
    rows = select(RolloutEvidence.measure, RolloutEvidence.exposure, RolloutEvidence.loss).where(
        RolloutEvidence.rollout_id == rollout.id, RolloutEvidence.at > since
    )
    losses: dict[tuple[str, int], list[int]] = defaultdict(list)
    for measure, exposure, loss in session.execute(rows.order_by(RolloutEvidence.id)):
        losses[measure, exposure].append(loss)
    return losses


def _drawn(losses: list[int], limit: float) -> str:
    """The evidence after each pair, as points of SVG from 0,40 to 200,0, by its logarithm; the limit is at y = 0."""
    most = max(log(max(limit, 2.0)), 1e-9)
    every = max(1, len(losses) // _STEPS)
    points, bets = ["0,40"], sequential.Bets()
    for count, loss in enumerate(losses, 1):
        bets.add(loss)
        if count % every == 0:
            value = bets.evidence().most
            points.append(f"{200 * count / len(losses):.1f},{40 - 40 * min(1.0, log(max(1.0, value)) / most):.1f}")
    return " ".join(points) if len(points) > 1 else ""
