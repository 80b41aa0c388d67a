"""What people do to a rollout in waves: start, pause, resume, abort, promote. Each is one transaction.

`now` is in ms, by default the server's time.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy.orm import Session

from ota_server.errors import Conflict
from ota_server.fleet.waves import carry_out, found, show, subjects
from ota_server.fleet.waves import retry as again
from ota_server.store import Store, groups, now_ms, phases, webhooks
from ota_server.store.models import Rollout
from tidegate.errors import TidegateError
from tidegate.rollout import Terms

_OPEN = ("running", "paused")


def start(store: Store, product: str, version: str, terms: Terms, actor: str, now: int | None = None) -> dict[str, Any]:
    """Start it; the first wave is open at once. Starting it again with the same terms changes nothing."""
    now = now or now_ms()
    with store.write() as session:
        groups.lock(session)
        facts, release = subjects.find(session, product, version)
        subjects.check_usable(facts, release)
        known = found.newest(session, product, version)
        if known is not None and known.state in _OPEN:
            if found.terms(known) == terms:
                return {**show.status(session, known, now), "started": False}
            raise Conflict(
                "rollout-under-way",
                f"{product} {version} is rolled out on other terms already",
                f"Look: tidegate rollout status {version}; end it: tidegate rollout abort {version}",
            )
        if terms.gate is not None and terms.gate.webhook is not None:
            _check_webhook(session, terms.gate.webhook)
        subjects.check_waves_hold(session, facts, release, terms, now)
        rollout = subjects.row(facts, release)
        rollout.terms, rollout.wave_at, rollout.created_at = terms.document(), now, now
        rollout.state, rollout.wave = "running", 1
        session.add(rollout)
        session.flush()
        carry_out.note(session, rollout, "started", actor, f"to {terms.to}, waves {terms.document()['waves']}", now)
        number = rollout.id
    return {**_advanced(store, number, now), "started": True}


def _check_webhook(session: Session, number: int) -> None:
    try:
        webhooks.find(session, number)
    except TidegateError as missing:
        raise Conflict("no-such-webhook", f"the gate's {missing.message}", missing.remedy) from None


def pause(
    store: Store, product: str, version: str, why: str | None, actor: str, now: int | None = None
) -> dict[str, Any]:
    """No further offers, and those not taken are withdrawn. Who has the release keeps it."""
    now = now or now_ms()
    with store.write() as session:
        rollout = _locked(session, product, version, ("running",), "pause")
        carry_out.pause(session, rollout, actor, why or f"paused by {actor}", now)
    return _status(store, rollout.id, now)


def resume(
    store: Store, product: str, version: str, why: str | None, actor: str, now: int | None = None
) -> dict[str, Any]:
    """Go on. What failed until now is accepted: the budget and the comparison begin anew."""
    now = now or now_ms()
    with store.write() as session:
        rollout = _locked(session, product, version, ("paused",), "resume")
        rollout.state, rollout.why = "running", None
        carry_out.note(session, rollout, "resumed", actor, why, now)
    return _advanced(store, rollout.id, now)


def abort(
    store: Store, product: str, version: str, why: str | None, actor: str, now: int | None = None
) -> dict[str, Any]:
    """End it for good. Devices that have the release, or are about to install it, keep it."""
    now = now or now_ms()
    with store.write() as session:
        rollout = _locked(session, product, version, (*_OPEN, "done"), "abort")
        rollout.state, rollout.why = "aborted", (why or f"aborted by {actor}")[:256]
        carry_out.withdraw(session, rollout, ("offered", *phases.FAILED), now)
        carry_out.note(session, rollout, "aborted", actor, rollout.why, now)
    return _status(store, rollout.id, now)


def promote(
    store: Store,
    product: str,
    version: str,
    why: str | None,
    actor: str,
    now: int | None = None,
    wave: int | None = None,
) -> dict[str, Any]:
    """Open the next wave now, whatever the present one waits for; of the last wave: it is done.

    wave: the number of the wave that is to be the newest; Conflict if another one is.
    """
    now = now or now_ms()
    with store.write() as session:
        rollout = _locked(session, product, version, ("running",), "promote")
        if wave not in (None, rollout.wave):
            raise Conflict(
                "other-wave",
                f"wave {rollout.wave} of {product} {version} is the newest, not wave {wave}",
                "It was promoted already; see: tidegate rollout history " + version,
            )
        reason = why or f"promoted by {actor}"
        if rollout.wave < len(found.terms(rollout).waves):
            carry_out.open_wave(session, rollout, actor, reason, now)
        else:
            rollout.state = "done"
            carry_out.note(session, rollout, "done", actor, reason, now)
    return _advanced(store, rollout.id, now)


def retry(store: Store, product: str, version: str, actor: str, now: int | None = None) -> dict[str, Any]:
    """Offer it once more to the devices that failed or are overdue; `retried` has their ids."""
    now = now or now_ms()
    with store.write() as session:
        groups.lock(session)
        rollout = found.get(session, product, version)
        ids = again.again(session, product, version, actor, now)
    return {**_status(store, rollout.id, now), "retried": sorted(ids)}


def _locked(session: Session, product: str, version: str, states: tuple[str, ...], act: str) -> Rollout:
    groups.lock(session)
    known = found.get(session, product, version)
    rollout = found.locked(session, known.id) or known
    if rollout.state not in states:
        raise Conflict(
            "rollout-state",
            f"the rollout of {product} {version} is {rollout.state}; to {act} it, it must be {' or '.join(states)}",
            f"Look: tidegate rollout why {version}",
        )
    return rollout


def _advanced(store: Store, rollout_id: int, now: int) -> dict[str, Any]:
    carry_out.advance(store, rollout_id, now)
    return _status(store, rollout_id, now)


def _status(store: Store, rollout_id: int, now: int) -> dict[str, Any]:
    with store.read() as session:
        return show.status(session, session.get_one(Rollout, rollout_id), now)
