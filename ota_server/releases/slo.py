"""The error budget of a product: while too many of its updates failed in the last weeks, nothing new begins.

Counted is what devices reported in the period, each device and release once: an update that ended well, or one that
was rolled back, refused or failed and is not tried again. A rollout that has reached somebody goes on.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from sqlalchemy import case, func, select
from sqlalchemy.orm import Session

from ota_server.errors import Conflict
from ota_server.security import audit
from ota_server.store import Store, clock, groups, now_ms, phases
from ota_server.store.models import Device, ErrorBudget, Report
from tidegate.rollout import durations, slo

LEAST = 2  # failures that a percentage needs, as in a rollout
MIN_SAMPLE = 20  # updates that a percentage is of, at least


class Spent(NamedTuple):
    """How the budget stands: `failed` of `ended` updates; `lifted_until`: until then, in ms, it stops nothing."""

    slo: slo.Slo
    failed: int
    ended: int
    lifted_until: int

    @property
    def is_spent(self) -> bool:
        return self.failed >= LEAST and self.failed * 100 > self.slo.percent * max(self.ended, MIN_SAMPLE)

    def freezes(self, now: int) -> bool:
        return self.is_spent and now >= self.lifted_until

    @property
    def text(self) -> str:
        period = durations.words(self.slo.period_s)
        state = "is spent" if self.is_spent else "holds"
        return f"the error budget {self.slo} {state}: {self.failed} of {self.ended} updates failed in the last {period}"


def of(session: Session, product: str, now: int) -> Spent | None:
    """None if the product has no budget."""
    row = session.get(ErrorBudget, product)
    if row is None:
        return None
    found = slo.parse(row.slo)
    return Spent(found, *_ended(session, product, now - 1000 * found.period_s), row.lifted_until)


def check(session: Session, product: str, now: int) -> None:
    """Conflict if nothing new may begin."""
    found = of(session, product, now)
    if found is not None and found.freezes(now):
        raise Conflict("frozen", f"nothing new is rolled out: {found.text}", remedy())


def remedy() -> str:
    return "Find out why; to go on all the same: tidegate rollout slo --lift 2h --why TEXT, which is audited"


def put(store: Store, product: str, text: str | None, actor: str) -> dict[str, Any] | None:
    """Set the budget, or take it away with None."""
    with store.write() as session:
        groups.lock(session)
        row = session.get(ErrorBudget, product)
        before = row and row.slo
        if text is None and row is not None:
            session.delete(row)
        elif text is not None and row is None:
            session.add(ErrorBudget(product=product, slo=str(slo.parse(text)), lifted_until=0))
        elif text is not None and row is not None:
            row.slo = str(slo.parse(text))
        audit.record(session, actor, "slo.set", product, slo=text, before=before)
        session.flush()
        return show(session, product, now_ms())


def lift(store: Store, product: str, seconds: int, why: str, actor: str) -> dict[str, Any] | None:
    """Let rollouts begin for a while although it is spent."""
    with store.write() as session:
        groups.lock(session)
        row = session.get(ErrorBudget, product)
        if row is None:
            raise Conflict("no-slo", f"{product} has no error budget", "Nothing stops its rollouts")
        row.lifted_until = now_ms() + 1000 * seconds
        audit.record(session, actor, "slo.lift", product, slo=row.slo, until=row.lifted_until, why=why)
        session.flush()
        return show(session, product, now_ms())


def show(session: Session, product: str, now: int) -> dict[str, Any] | None:
    """For people and programs; times in ms."""
    found = of(session, product, now)
    if found is None:
        return None
    until = found.lifted_until if found.lifted_until > now else None
    text = found.text if until is None else f"{found.text}; lifted until {clock.to_the_minute(until)}"
    return {
        "product": product,
        "slo": str(found.slo),
        "failed": found.failed,
        "ended": found.ended,
        "spent": found.is_spent,
        "frozen": found.freezes(now),
        "lifted_until": until,
        "why": text,
    }


def products(session: Session) -> list[str]:
    """Those that have a budget."""
    return list(session.scalars(select(ErrorBudget.product).order_by(ErrorBudget.product)))


def _ended(session: Session, product: str, since: int) -> tuple[int, int]:
    """Updates that failed, and all that ended."""
    # What could not be verified has sequence number 0: anybody can send such offers, and they spend nothing.
    failed = Report.phase.in_(phases.FAILED) & Report.body["again"].as_string().is_(None)
    component = Report.body["component"].as_string()  # data has sequence numbers of its own
    each = select(Report.device_id, Report.sequence, func.max(case((failed, 1), else_=0)).label("failed"))
    each = each.join(Device, Device.id == Report.device_id).where(Device.product == product, Report.sequence > 0)
    each = each.where(Report.at > since, failed | (Report.phase == "confirmed"))
    rows = each.group_by(Report.device_id, Report.sequence, component).subquery()
    bad, all_of_them = session.execute(select(func.coalesce(func.sum(rows.c.failed), 0), func.count())).one()
    return int(bad), int(all_of_them)
