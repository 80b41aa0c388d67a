"""What a rollout is to do next, and why: one judgement for who carries it out and for who asks.

A wave is through when nearly all of its devices came to an end (no more than one in twenty is under way) and half of
them have done so for the soak time, nine in ten if something is watched. Devices that are unreachable are waited for
until the deadline only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from ota_server.fleet.waves import budget, found, health
from ota_server.releases import slo
from ota_server.store import absences, clock, rollout_states
from ota_server.store.models import Device, Rollout, RolloutDevice
from ota_server.store.rollout_states import Waiting
from tidegate.rollout import Gate, Terms, device_states, durations

BATCH = 500  # grants in one transaction
_STRAGGLERS = 20  # one in so many may still be under way when a wave is through


class Verdict(NamedTuple):
    """What to do now, and the sentence for people. `grants`: whom to offer it, with their waves."""

    act: Literal["wait", "grant", "compare", "open", "done", "pause", "ask"]
    why: str
    grants: Mapping[str, int] = {}


def judge(session: Session, rollout: Rollout, now: int, waiting: Sequence[Waiting] | None = None) -> Verdict:
    """Changes nothing. `now` in ms; `waiting`: all that wait, from a caller who has them already."""
    if rollout.state in ("paused", "aborted"):
        return Verdict("wait", rollout.why or rollout.state)
    terms, release = found.terms(rollout), found.facts(session, rollout)
    if not release.is_usable:
        return Verdict("wait", "it was withdrawn: its signing keys are not trusted any more")
    if rollout.state == "running":
        since = found.resumed_at(session, rollout)
        reason = budget.breach(terms, budget.tally(session, rollout, terms, since, now))
        reason = reason or health.breach(session, rollout, terms, since)
        if reason is not None:
            return Verdict("pause", reason)
        frozen = _frozen(session, rollout, now)
        if frozen is not None:
            return Verdict("wait", frozen)
        pairs = len(health.due(session, rollout, terms, now))
        if pairs:
            return Verdict("compare", f"{pairs} updated devices are compared with others")
    if waiting is None:
        waiting = rollout_states.waiting(session, terms, release, now, rollout.id, terms.waves[: rollout.wave])
    offered = _grant(session, rollout, terms, waiting, now)
    if offered is not None:
        return offered
    if rollout.state == "done":
        return Verdict("wait", "done: every wave is through")
    return _wave(session, rollout, terms, now)


def _frozen(session: Session, rollout: Rollout, now: int) -> str | None:
    """Why a rollout that has reached nobody yet may not begin."""
    budget = slo.of(session, rollout.product, now)
    if budget is None or not budget.freezes(now):
        return None
    reached = select(RolloutDevice.device_id).where(RolloutDevice.rollout_id == rollout.id).limit(1)
    if session.scalar(reached) is not None:
        return None
    return f"frozen: {budget.text}; to begin all the same: tidegate rollout slo --lift 2h --why TEXT"


def _grant(session: Session, rollout: Rollout, terms: Terms, waiting: Sequence[Waiting], now: int) -> Verdict | None:
    """Whom to offer it now, or why those that are to have it wait; None if the open waves have it."""
    standing = (RolloutDevice.rollout_id == rollout.id) & RolloutDevice.withdrawn_at.is_(None)
    granted = session.scalar(select(func.count()).where(standing)) or 0
    due = {
        device: wave for device, wave in rollout_states.by_wave(terms, waiting, granted).items() if wave <= rollout.wave
    }
    if not due:
        return None
    many = f"{len(due)} {'devices' if len(due) > 1 else 'device'} of wave {rollout.wave}"
    if terms.window is not None and not terms.window.is_open(now):
        return Verdict(
            "wait",
            f"{many} wait for the window {terms.window.text}, {clock.to_the_minute(terms.window.opens_next(now))}",
        )
    room = BATCH
    if terms.rate is not None:
        lately = standing & (RolloutDevice.granted_at > now - 1000 * terms.rate.seconds)
        room = min(room, terms.rate.count - (session.scalar(select(func.count()).where(lately)) or 0))
        if room <= 0:
            return Verdict("wait", f"{many} wait for their turn, {terms.rate}")
    first = dict(list(due.items())[:room])
    return Verdict("grant", f"{many} are offered it", first)


def _wave(session: Session, rollout: Rollout, terms: Terms, now: int) -> Verdict:
    """How far the newest wave is, whose devices all have their offers."""
    counted = {
        name: many
        for (wave, name), many in rollout_states.counts(session, rollout, terms, now).items()
        if wave == rollout.wave
    }
    size = sum(counted.values()) - counted.get("excused", 0) - counted.get("waiting", 0)
    deadline = rollout.wave_at + 1000 * terms.deadline_s + absences.after(session, rollout.wave_at)
    late = now >= deadline
    if late:
        size -= counted.get("unreachable", 0)
    name = f"wave {rollout.wave} of {len(terms.waves)} ({terms.waves[rollout.wave - 1]})"
    if size > 0:
        under_way = sum(counted.get(one, 0) for one in device_states.UNDER_WAY)
        # What is watched is compared at the end of the soak time: then nearly all have to have come there.
        needed = size - size // 10 if terms.watches else (size + 1) // 2
        waits = _waits(session, rollout, terms, now, needed)
        if under_way * _STRAGGLERS > size:
            idle = rollout_states.for_application(session, rollout)
            of_them = f", {idle} of them for their application" if idle else ""
            return Verdict("wait", f"{name}: waits for {under_way} of {size} devices that are under way{of_them}")
        if waits is None:
            there = counted.get("confirmed", 0)
            away = f", {counted['unreachable']} are unreachable" if counted.get("unreachable") else ""
            until = "" if late else f", until {clock.to_the_minute(deadline)}"
            return Verdict("wait", f"{name}: {there} of {size} devices run it, and {needed} are needed{away}{until}")
        if waits > now:
            left = durations.words((waits - now) / 1000)
            return Verdict("wait", f"{name}: soaks for {left} more, {clock.to_the_minute(waits)}")
        if not counted.get("confirmed"):
            return Verdict("wait", f"{name}: none of its devices runs it")
    if rollout.wave == len(terms.waves):
        return Verdict("done", f"{name} is through" if size > 0 else f"{name} has no devices")
    if terms.gate is not None and size > 0:
        return _gate(session, rollout, terms.gate, name, now, terms.manual)
    if terms.manual:
        return Verdict("wait", f"{name} is through, and waits for a person: tidegate rollout promote")
    return Verdict("open", f"{name} is through" if size > 0 else f"{name} has no devices")


def _gate(session: Session, rollout: Rollout, gate: Gate, name: str, now: int, manual: bool) -> Verdict:
    """The wave is through: its check outside is asked and waited for; for ever only if a person decides as well."""
    asked = found.asked_at(session, rollout)
    if asked is None:
        return Verdict("ask", f"{name} is through: the gate {gate.name} is asked")
    until = asked + 1000 * gate.timeout_s
    if manual:
        asked_on = clock.to_the_minute(asked)
        return Verdict(
            "wait",
            f"{name} is through, the gate {gate.name} was asked {asked_on}, and a person or it goes on: "
            "tidegate rollout promote",
        )
    if now >= until:
        length = durations.words(gate.timeout_s)
        return Verdict("pause", f"{name} is through, and the gate {gate.name} gave no answer in {length}")
    since = f"asked {durations.words((now - asked) / 1000)} ago"
    return Verdict(
        "wait", f"{name} is through, and waits for the gate {gate.name}, {since}, until {clock.to_the_minute(until)}"
    )


def _waits(session: Session, rollout: Rollout, terms: Terms, now: int, needed: int) -> int | None:
    """When half of the wave's devices will have come to an end for the soak time, in ms; None if too few have."""
    said = rollout_states.state(terms.deadline_s, now)
    ended = select(RolloutDevice.state_at).join(Device, Device.id == RolloutDevice.device_id)
    ended = ended.where(RolloutDevice.rollout_id == rollout.id, RolloutDevice.wave == rollout.wave)
    ended = ended.where(said.in_((*device_states.FAILED, "confirmed")))
    at = session.scalar(ended.order_by(RolloutDevice.state_at).offset(needed - 1).limit(1))
    return None if at is None else at + 1000 * terms.soak_s + absences.after(session, at)
