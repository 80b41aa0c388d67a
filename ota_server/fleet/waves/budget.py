"""The failure budget: how many devices failed, of how many that came to an end, and whether that is too many."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import case, func, select
from sqlalchemy.orm import Session

from ota_server.store import rollout_states
from ota_server.store.models import Device, Rollout, RolloutDevice
from tidegate.rollout import Terms, device_states

LEAST = 2  # failures that a percentage needs: one failure of one device decides nothing


class Tally(NamedTuple):
    """Devices that failed, and those that came to an end at all: `sample` has both."""

    failed: int
    sample: int


def tally(session: Session, rollout: Rollout, terms: Terms, since: int, now: int) -> Tally:
    """Of the devices that came to their end after `since`, in ms."""
    said = rollout_states.state(terms.deadline_s, now)
    ended = case((said == "overdue", rollout_states.ended_late(terms.deadline_s)), else_=RolloutDevice.state_at)
    bad = said.in_(device_states.FAILED)
    found = select(func.count().filter(bad), func.count()).select_from(RolloutDevice)
    found = found.join(Device, Device.id == RolloutDevice.device_id)
    found = found.where(RolloutDevice.rollout_id == rollout.id, ended > since, bad | (said == "confirmed"))
    failed, sample = session.execute(found).one()
    return Tally(failed, sample)


def breach(terms: Terms, tally: Tally) -> str | None:
    """Why the rollout must stop, as one sentence; None while the budget holds."""
    budget = terms.budget
    if budget.count is not None and tally.failed > budget.count:
        return f"{_devices(tally.failed)} failed, and at most {budget.count} may"
    if budget.percent is None or tally.failed < LEAST:
        return None
    # Below the smallest sample it counts as if the rest of it went well: what cannot become good again stops at once.
    if tally.failed * 100 > budget.percent * max(tally.sample, terms.min_sample):
        part = 100 * tally.failed / tally.sample
        return f"{tally.failed} of {_devices(tally.sample)} failed ({part:.1f} %), and at most {budget.percent:g} % may"
    return None


def _devices(many: int) -> str:
    return f"{many} device" if many == 1 else f"{many} devices"
