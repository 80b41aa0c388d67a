"""The overview: how the fleet stands, by version and group, and what needs a person now."""

from __future__ import annotations

from collections import Counter
from typing import Any, NamedTuple

from flask import Response, url_for
from sqlalchemy import func, select
from sqlalchemy.orm import Session, joinedload

from ota_server.api import context
from ota_server.fleet import standing
from ota_server.fleet.figures import CALLS_MS
from ota_server.fleet.waves.judge import judge
from ota_server.releases import slo
from ota_server.store import alarm_handling, now_ms
from ota_server.store.models import Alarm, Device, Release, Rollout
from ota_server.web import page, version_chart
from ota_server.web.session import signed_in

_ROWS = 12
_KINDS = 6


class Call(NamedTuple):
    """Something that needs a person. tone: bad or busy. where: the page about it."""

    tone: str
    text: str
    why: str
    where: str


@signed_in("read")
def show() -> Response:
    now = now_ms()
    with context.store().read() as session:
        counts = standing.counts(session, now)
        goings = _rollouts(session, now)
        facts: dict[str, Any] = {
            "counts": counts,
            "devices": sum(counts.all.values()) - counts.all["revoked"],
            "versions": _most(counts.by_version),
            "products": len({product for product, _ in counts.by_version}),
            "groups": _most(counts.by_group),
            "boards": _most(counts.by_board),
            "rollouts": goings,
            "calls": _calls(session, counts, goings, now),
            "chart": version_chart.draw(session, now),
            "releases": session.scalar(select(func.count()).select_from(Release)),
        }
        return page.show("overview.html", **facts)


def _most(table: dict[Any, Counter[str]]) -> list[tuple[Any, Counter[str], int]]:
    rows = [(key, words, sum(words.values())) for key, words in table.items()]
    return sorted(rows, key=lambda row: (-row[2], row[0]))[:_ROWS]


def _rollouts(session: Session, now: int) -> list[tuple[Rollout, str]]:
    going = select(Rollout).where(Rollout.state.in_(("running", "paused"))).options(joinedload(Rollout.release))
    rows = session.scalars(going.order_by(Rollout.id.desc()).limit(_ROWS)).all()
    return [(row, judge(session, row, now).why) for row in rows]


def _calls(session: Session, counts: standing.Counts, goings: list[tuple[Rollout, str]], now: int) -> list[Call]:
    found = []
    for row, why in goings:
        where = url_for("web.rollout", product=row.product, version=row.version)
        if row.state == "paused":
            found.append(Call("bad", f"The rollout of {row.version} is paused", why, where))
        elif "waits for a person" in why or "waits for the gate" in why:
            found.append(Call("busy", f"The rollout of {row.version} waits for you", why, where))
    for word, tone, text in (("failed", "bad", "did not get their update"), ("overdue", "busy", "are not heard")):
        if many := counts.all[word]:
            text = text if many > 1 else text.replace("their", "its").replace("are", "is")
            subject = "1 device" if many == 1 else f"{many} devices"
            found.append(Call(tone, f"{subject} {text}", "", url_for("web.devices", standing=word)))
    for product in slo.products(session):
        budget = slo.show(session, product, now)
        if budget is not None and budget["frozen"]:
            text = f"New rollouts of {product} wait: its error budget is spent"
            found.append(Call("bad", text, budget["why"], url_for("web.rollouts")))
    cloned = session.scalar(select(func.count()).where(Device.cloned_at.is_not(None), Device.revoked_at.is_(None)))
    if cloned:
        text = "Two boards show one device's identity" if cloned == 1 else f"{cloned} devices may be cloned"
        found.append(Call("bad", text, "See the alarms about it", url_for("web.alarms")))
    found += _alarms(alarm_handling.calling(session, now - CALLS_MS))
    return sorted(found, key=lambda call: call.tone != "bad")


def _alarms(rows: list[Alarm]) -> list[Call]:
    by_kind: dict[tuple[str, str], list[Alarm]] = {}
    for row in rows:
        by_kind.setdefault((row.kind, row.reason), []).append(row)
    calls = []
    for (kind, reason), of_kind in sorted(by_kind.items(), key=lambda item: -len(item[1]))[:_KINDS]:
        devices = {row.device_id for row in of_kind}
        about = f"of {next(iter(devices)) or 'the server'}" if len(devices) == 1 else f"of {len(devices)} devices"
        tone = "bad" if kind == "crash" else "busy"
        calls.append(Call(tone, f"{kind}: {reason}", f"{len(of_kind)} not acknowledged, {about}",
                          url_for("web.alarms", kind=kind)))  # fmt: skip
    return calls
