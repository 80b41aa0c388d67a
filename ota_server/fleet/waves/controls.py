"""For each device that gets a release, one that does not get it yet, to compare it with."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from ota_server.fleet.waves import found
from ota_server.store import rollout_states
from ota_server.store.models import Device, Rollout, RolloutDevice


def choose(session: Session, rollout: Rollout, chosen: Mapping[str, int], now: int) -> dict[str, str]:
    """Device -> its control: of the same board, in no wave that is open, of nobody else, the last whose turn comes.

    Both are where a hash put them, so until the update they differ by chance only. Devices of a group's wave are there
    because people put them there, and have no control.
    """
    terms, release = found.terms(rollout), found.facts(session, rollout)
    drawn = [device for device, wave in chosen.items() if terms.waves[wave - 1].kind != "group"]
    if not terms.watches or not drawn or rollout.state != "running":
        return {}
    used = set(
        session.scalars(
            select(RolloutDevice.control_id).where(
                RolloutDevice.rollout_id == rollout.id, RolloutDevice.control_id.is_not(None)
            )
        )
    )
    standing = (RolloutDevice.rollout_id == rollout.id) & RolloutDevice.withdrawn_at.is_(None)
    granted = session.scalar(select(func.count()).where(standing)) or 0
    waiting = rollout_states.waiting(session, terms, release, now, rollout.id)
    waves = rollout_states.by_wave(terms, waiting, granted)
    free: dict[str, list[str]] = {}  # by board, the last turn last
    for one in waiting:
        if one.id not in chosen and one.id not in used and waves.get(one.id, rollout.wave + 1) > rollout.wave:
            free.setdefault(one.board, []).append(one.id)
    boards = dict(session.execute(select(Device.id, Device.board).where(Device.id.in_(drawn))).all())
    return {device: free[boards[device]].pop() for device in sorted(drawn) if free.get(boards[device])}
