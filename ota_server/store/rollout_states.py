"""How devices stand in a rollout: what they said, and what their silence means. Counted by the database, never stored.

waiting      its wave is not open yet, or its turn in it has not come
offered      it may take the release, and has not said that it does
downloading  it fetches and checks it; also while it waits before it tries again by itself
installed    it restarts into it
trial        it runs it, unconfirmed
confirmed    it runs it, and its application is healthy
rolled-back  it went back to what it ran before
refused      it did not accept the offer
failed       it accepted the offer and could not carry it out
overdue      it was there, and did not come to an end before the deadline; also silent since it installed it
unreachable  it is silent, and has not installed it: no failure
excused      it is left out, for a reason
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import ColumnElement, Select, and_, case, func, or_, select
from sqlalchemy.orm import Session

from ota_server.store import absences, phases, selectors
from ota_server.store.models import Device, Rollout, RolloutDevice
from ota_server.store.place import Place
from ota_server.store.rollout_subjects import Facts
from tidegate.rollout import Terms
from tidegate.rollout.device_states import UNDER_WAY
from tidegate.rollout.waves import Wave

SILENT_MS = 600_000  # a device that is not connected and was not heard for so long is not waited for


def state(deadline_s: int, now: int) -> ColumnElement[str]:
    """The state of a row of `RolloutDevice` beside its `Device`."""
    silent = ~Device.online & (func.coalesce(Device.last_seen_at, 0) <= now - SILENT_MS)
    before = RolloutDevice.state.in_(("offered", "downloading"))
    late = RolloutDevice.state.in_(UNDER_WAY) & (ended_late(deadline_s) <= now)
    return case(
        (Device.revoked_at.is_not(None), "excused"),
        (RolloutDevice.withdrawn_at.is_not(None) & ~_ended_badly(), "waiting"),
        (before & (silent | RolloutDevice.reached_at.is_(None)) & ~Device.online, "unreachable"),
        (late, "overdue"),
        else_=RolloutDevice.state,
    )


def _ended_badly() -> ColumnElement[bool]:
    """It said so: it stays so when the rollout is aborted, and its offer is taken back."""
    return RolloutDevice.state.in_(phases.FAILED)


def ended_late(deadline_s: int) -> ColumnElement[int]:
    """When the time of a row's device was over, in ms; what it said while nobody heard it does not count."""
    began = func.coalesce(RolloutDevice.reached_at, RolloutDevice.granted_at)
    return began + 1000 * deadline_s + absences.since(began)


def rows(rollout: Rollout, now: int, deadline_s: int) -> Select[RolloutDevice, Device, str]:
    """The rollout's rows with their devices and states, by device."""
    found = select(RolloutDevice, Device, state(deadline_s, now).label("state"))
    return found.join(Device, Device.id == RolloutDevice.device_id).where(RolloutDevice.rollout_id == rollout.id)


def counts(session: Session, rollout: Rollout, terms: Terms, now: int) -> dict[tuple[int, str], int]:
    """How many rows there are by wave and state."""
    said = state(terms.deadline_s, now).label("said")
    found = select(RolloutDevice.wave, said, func.count()).join(Device, Device.id == RolloutDevice.device_id)
    found = found.where(RolloutDevice.rollout_id == rollout.id).group_by(RolloutDevice.wave, said)
    return {(wave, name): many for wave, name, many in session.execute(found)}


def for_application(session: Session, rollout: Rollout) -> int:
    """How many devices of its newest wave have it installed, and wait until their application lets them restart."""
    waits = and_(
        RolloutDevice.state == "downloading",
        RolloutDevice.withdrawn_at.is_(None),
        RolloutDevice.wave == rollout.wave,
        Device.update["phase"].as_string() == "waiting",
    )
    found = select(func.count()).select_from(RolloutDevice).join(Device, Device.id == RolloutDevice.device_id)
    return session.scalar(found.where(RolloutDevice.rollout_id == rollout.id, waits)) or 0


# ---------------------------------------------------------------- who has no row


def selected(terms: Terms, release: Facts, now: int) -> ColumnElement[bool]:
    """The selector holds for a row of `Device`, which is of the product and not revoked."""
    return and_(Device.product == release.product, Device.revoked_at.is_(None), selectors.condition(terms.to, now))


def why_excused(subject: Facts) -> ColumnElement[str | None]:
    """Why a selected device without a grant gets none; null: it waits."""
    return case(*subject.excused, else_=None)


def without_grant(rollout_id: int | None) -> ColumnElement[bool]:
    """The device has no grant of this rollout, or one that was withdrawn before it took it."""
    granted = select(RolloutDevice.device_id).where(
        RolloutDevice.rollout_id == rollout_id, RolloutDevice.withdrawn_at.is_(None) | _ended_badly()
    )
    return Device.id.not_in(granted)


class Waiting(NamedTuple):
    """A device that may get the release, in the order of its turn."""

    id: str
    group: str
    board: str
    place: int


def waiting(
    session: Session,
    terms: Terms,
    release: Facts,
    now: int,
    rollout_id: int | None = None,
    open_waves: Sequence[Wave] | None = None,
) -> list[Waiting]:
    """Who waits, by place; of `open_waves`, only those that may be in one of them."""
    place = Place(release.key, Device.id).label("place")  # ordered by its name: it is computed once
    found = select(Device.id, Device.group, Device.board, place)
    found = found.where(selected(terms, release, now), why_excused(release).is_(None), without_grant(rollout_id))
    if open_waves is not None and not any(wave.kind == "count" for wave in open_waves):
        bound = max((wave.bound for wave in open_waves if wave.kind == "percent"), default=0)
        names = [wave.group for wave in open_waves if wave.kind == "group"]
        found = found.where(or_(place.element < bound, Device.group.in_(names)))
    return [Waiting(*row) for row in session.execute(found.order_by(place, Device.id))]


def by_wave(terms: Terms, waiting: Sequence[Waiting], granted: int) -> dict[str, int]:
    """The wave of each waiting device that is in one, from 1. `granted`: how many devices have the release already.

    A preview and what then happens both ask here.
    """
    found: dict[str, int] = {}
    for number, wave in enumerate(terms.waves, 1):
        room = wave.count - granted - len(found) if wave.kind == "count" else 0
        bound = wave.bound
        for one in waiting:
            if one.id in found:
                continue
            if wave.kind == "count":
                if room <= 0:
                    break
                room -= 1
            elif wave.kind == "group":
                if one.group != wave.group:
                    continue
            elif one.place >= bound:
                break
            found[one.id] = number
    return found
