"""Figures of the whole fleet for /metrics: few queries, each one pass over an index or a small table."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from ota_server.fleet import attention
from ota_server.fleet.waves import found
from ota_server.store import alarm_handling, alarms, rollout_states
from ota_server.store.models import Command, Device, DeviceData, Rollout
from tidegate.rollout import device_states

CALLS_MS = 7 * 86_400_000  # an alarm that nobody acknowledges calls for so long
_MOST_VERSIONS = 30  # of a product; all others together are "other"
_MOST_ROLLOUTS = 20  # that are not over


class Figures(NamedTuple):
    """versions: (product, version, is online) -> devices. states: as on the status page. rollouts: (product, version,
    its state, state of devices) -> devices. unsent: offers that the broker does not have yet. commands: by state.
    events: what only has a counter, since the database was made. calling: alarms of a week that nobody has acknowledged
    and no mute covers, by kind."""

    versions: dict[tuple[str, str, bool], int]
    states: dict[str, int]
    rollouts: dict[tuple[str, str, str, str], int]
    unsent: int
    commands: dict[str, int]
    events: dict[str, int]
    calling: dict[str, int]


def read(session: Session, now: int) -> Figures:
    """now: ms since 1970."""
    return Figures(
        _versions(session), attention.counts(session), _rollouts(session, now), _unsent(session), _commands(session),
        alarms.counters(session), _calling(session, now),
    )  # fmt: skip


def _versions(session: Session) -> dict[tuple[str, str, bool], int]:
    by = (Device.product, Device.version, Device.online)
    rows = session.execute(select(*by, func.count()).where(Device.revoked_at.is_(None)).group_by(*by)).all()
    many: dict[tuple[str, str], int] = {}
    for product, version, _, count in rows:
        key = (product, version or "")
        many[key] = many.get(key, 0) + count
    shown: set[tuple[str, str]] = set()
    for product in {product for product, _ in many}:
        of = sorted((key for key in many if key[0] == product), key=lambda key: (-many[key], key))
        shown.update(of[:_MOST_VERSIONS])
    out: dict[tuple[str, str, bool], int] = {}
    for product, version, online, count in rows:
        name = (version or "") if (product, version or "") in shown else "other"
        out[product, name, online] = out.get((product, name, online), 0) + count
    return out


def _rollouts(session: Session, now: int) -> dict[tuple[str, str, str, str], int]:
    out: dict[tuple[str, str, str, str], int] = {}
    going = select(Rollout).where(Rollout.state.in_(("running", "paused"))).order_by(Rollout.id.desc())
    for rollout in session.scalars(going.limit(_MOST_ROLLOUTS)):
        states = dict.fromkeys(device_states.STATES, 0)
        for (_, state), many in rollout_states.counts(session, rollout, found.terms(rollout), now).items():
            states[state] += many
        for state, many in states.items():
            out[rollout.product, rollout.version, rollout.state, state] = many
    return out


def _unsent(session: Session) -> int:
    """By the partial indexes that the worker looks into."""
    offers = select(func.count()).select_from(Device).where(Device.offer_id.is_distinct_from(Device.offer_sent_id))
    of_data = select(func.count()).select_from(DeviceData)
    of_data = of_data.where(DeviceData.offer_id.is_distinct_from(DeviceData.offer_sent_id))
    return int(session.scalar(offers) or 0) + int(session.scalar(of_data) or 0)


def _calling(session: Session, now: int) -> dict[str, int]:
    """Of the newest ones: alarm_handling.calling has a bound."""
    return dict(Counter(row.kind for row in alarm_handling.calling(session, now - CALLS_MS)))


def _commands(session: Session) -> dict[str, int]:
    return {row[0]: row[1] for row in session.execute(select(Command.state, func.count()).group_by(Command.state))}
