"""The health of updated devices beside that of devices that are not updated yet.

Each device that is granted the release has a control (`controls`). When it has run the release for a quarter, a half
and all of the soak time, what both measured then and before the offer is compared, once. Each measure at each of these
times is one sequential test; the error that is allowed is divided among them.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any, NamedTuple

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from ota_server.fleet.waves import sequential
from ota_server.store import absences
from ota_server.store.models import Alarm, Device, DeviceEvent, Point, Rollout, RolloutDevice, RolloutEvidence, Series
from tidegate.rollout import Terms, Watch, durations

BEFORE_MS = 3_600_000  # of which the state before the offer is the mean
LEAST_S = 60
BATCH = 200  # pairs compared in one transaction
_MARK = ""  # the measure of a row that says: this pair was compared then


class Due(NamedTuple):
    """A pair whose time has come; `exposure` in seconds after it was confirmed."""

    row: RolloutDevice
    exposure: int

    @property
    def end(self) -> int:
        return self.row.state_at + 1000 * self.exposure


def exposures(terms: Terms) -> tuple[int, ...]:
    """Seconds after the confirmation at which pairs are compared."""
    return tuple(sorted({max(LEAST_S, terms.soak_s // part) for part in (4, 2, 1)}))


def due(session: Session, rollout: Rollout, terms: Terms, now: int) -> list[Due]:
    """Pairs to compare now; at most `BATCH`."""
    found: list[Due] = []
    if not terms.watches:
        return found
    for exposure in exposures(terms):
        compared = select(RolloutEvidence.device_id).where(
            RolloutEvidence.rollout_id == rollout.id,
            RolloutEvidence.exposure == exposure,
            RolloutEvidence.measure == _MARK,
        )
        rows = select(RolloutDevice).where(
            RolloutDevice.rollout_id == rollout.id,
            RolloutDevice.control_id.is_not(None),
            RolloutDevice.state == "confirmed",
            RolloutDevice.state_at + absences.since(RolloutDevice.state_at) <= now - 1000 * exposure,
            RolloutDevice.device_id.not_in(compared),
        )
        rows = rows.order_by(RolloutDevice.state_at, RolloutDevice.device_id).limit(BATCH - len(found))
        found += [Due(row, exposure) for row in session.scalars(rows)]
    return found


def compare(session: Session, rollout: Rollout, terms: Terms, pairs: list[Due], now: int) -> None:
    """Compare them and file what was found. The caller has the rollout locked, so nobody does it twice."""
    for one in pairs:
        control = one.row.control_id or ""
        granted = select(RolloutDevice.granted_at).where(
            RolloutDevice.rollout_id == rollout.id, RolloutDevice.device_id == control
        )
        updated_too = session.scalar(granted)
        if updated_too is None or updated_too > one.end:  # else it is no control any more
            for watch in terms.watches:
                measured = _measure(session, watch, one, control)
                if measured is not None:
                    _file(session, rollout, one, now, watch, measured)
        session.add(_evidence(rollout, one, now, _MARK, (0.0, 0.0, 0.0, 0.0), 0))
    session.flush()


def breach(session: Session, rollout: Rollout, terms: Terms, since: int) -> str | None:
    """Why what is watched must stop the rollout, as one sentence; None while it may go on."""
    for (name, exposure), found in _tests(session, rollout, terms, since).items():
        chance = found.most / _number(terms)
        if chance >= 1 / terms.error:
            return (
                f"{name}: {found.worse} of {found.pairs} updated devices did worse than devices not updated, "
                f"{durations.words(exposure)} after the update; by chance once in {chance:,.0f} such rollouts at most"
            )
    return None


def evidence(session: Session, rollout: Rollout, terms: Terms, since: int) -> list[dict[str, Any]]:
    """Each test: `pairs` that differed, in how many the updated device did `worse`, the evidence and its limit."""
    shown = []
    tests = _tests(session, rollout, terms, since)
    for watch in terms.watches:
        for exposure in exposures(terms):
            found = tests.get((str(watch), exposure), sequential.Evidence(0, 0, 1.0))
            value, limit = found.most / _number(terms), 1 / terms.error
            text = (
                f"{watch}, {durations.words(exposure)} after the update: worse in {found.worse} of {found.pairs} pairs"
            )
            facts = {"measure": str(watch), "exposure_s": exposure, "pairs": found.pairs, "worse": found.worse}
            text += f", evidence {value:.3g} of {limit:.3g}"
            shown.append({**facts, "evidence": round(value, 3), "limit": limit, "text": text})
    return shown


def _number(terms: Terms) -> int:
    return len(terms.watches) * len(exposures(terms))


def _tests(session: Session, rollout: Rollout, terms: Terms, since: int) -> dict[tuple[str, int], sequential.Evidence]:
    losses: dict[tuple[str, int], list[int]] = defaultdict(list)
    if terms.watches:
        rows = select(RolloutEvidence.measure, RolloutEvidence.exposure, RolloutEvidence.loss).where(
            RolloutEvidence.rollout_id == rollout.id, RolloutEvidence.measure != _MARK, RolloutEvidence.at > since
        )
        for measure, exposure, loss in session.execute(rows.order_by(RolloutEvidence.id)):
            losses[measure, exposure].append(loss)
    return {test: sequential.over(found) for test, found in losses.items()}


_Four = tuple[float, float, float, float]  # updated before, after; control before, after


def _file(session: Session, rollout: Rollout, one: Due, now: int, watch: Watch, measured: _Four) -> None:
    updated_before, updated, other_before, other = measured
    loss = watch.loss(updated, other, updated_before, other_before)
    session.add(_evidence(rollout, one, now, str(watch), measured, loss))


def _evidence(rollout: Rollout, one: Due, now: int, measure: str, measured: _Four, loss: int) -> RolloutEvidence:
    return RolloutEvidence(
        rollout_id=rollout.id,
        device_id=one.row.device_id,
        control_id=one.row.control_id,
        measure=measure,
        exposure=one.exposure,
        at=now,
        updated_before=measured[0],
        updated_after=measured[1],
        control_before=measured[2],
        control_after=measured[3],
        loss=loss,
    )


def _measure(session: Session, watch: Watch, one: Due, control: str) -> _Four | None:
    """What both devices measured before and after; None if one of them did not."""
    both = (one.row.device_id, control)
    length = 1000 * one.exposure
    if watch.name == "offline":
        after = _silences(session, both, one.end, length)
        return 0.0, after[0], 0.0, after[1]
    if watch.name in ("crashes", "restarts"):
        count = _crashes if watch.name == "crashes" else _restarts
        before = count(session, both, one.row.granted_at - length, one.row.granted_at)
        after = count(session, both, one.row.state_at, one.end)
        return before[0], after[0], before[1], after[1]
    before, after = (one.row.granted_at - BEFORE_MS, one.row.granted_at), (one.end - length // 2, one.end)
    means = _means(session, both, watch.name, before, after)
    updated, other = means.get(both[0]), means.get(both[1])
    return None if updated is None or other is None else (*updated, *other)


_Span = tuple[int, int]  # ms since 1970: the first is in it, the last is not


def _means(
    session: Session, both: tuple[str, str], name: str, before: _Span, after: _Span
) -> dict[str, tuple[float, float]]:
    """What each device measured in both spans, on the average; without one that lacks a value in either."""
    was, became = ((Point.at >= since) & (Point.at < until) for since, until in (before, after))
    found = select(Series.device_id, func.avg(Point.number).filter(was), func.avg(Point.number).filter(became))
    found = found.join(Point, Point.series_id == Series.id)
    found = found.where(Series.device_id.in_(both), Series.name == name, Point.at >= before[0], Point.at < after[1])
    rows = session.execute(found.group_by(Series.device_id)).all()
    return {device: (float(a), float(b)) for device, a, b in rows if a is not None and b is not None}


def _crashes(session: Session, both: tuple[str, str], since: int, until: int) -> tuple[float, float]:
    found = select(Alarm.device_id, func.sum(Alarm.count)).where(
        Alarm.device_id.in_(both), Alarm.kind == "crash", Alarm.source == "device", Alarm.at >= since, Alarm.at < until
    )
    many = {device: float(count) for device, count in session.execute(found.group_by(Alarm.device_id))}
    return many.get(both[0], 0.0), many.get(both[1], 0.0)


def _restarts(session: Session, both: tuple[str, str], since: int, until: int) -> tuple[float, float]:
    """Births of boots that were not known; that of the update itself was before it was confirmed."""
    found = select(DeviceEvent.device_id, func.count()).where(
        DeviceEvent.device_id.in_(both), DeviceEvent.kind == "birth", DeviceEvent.at > since, DeviceEvent.at < until
    )
    many = {device: float(count) for device, count in session.execute(found.group_by(DeviceEvent.device_id))}
    return many.get(both[0], 0.0), many.get(both[1], 0.0)


def _silences(session: Session, both: tuple[str, str], at: int, most: int) -> tuple[float, float]:
    """Seconds for which each was not heard at a time, at most `most` ms; 0 for one that is connected."""
    found = select(Device.id, Device.online, Device.last_seen_at).where(Device.id.in_(both))
    silent = {
        device: 0.0 if online else min(most, max(0, at - (seen or 0))) / 1000
        for device, online, seen in session.execute(found)
    }
    return silent.get(both[0], 0.0), silent.get(both[1], 0.0)
