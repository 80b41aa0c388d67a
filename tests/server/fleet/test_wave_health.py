"""Updated devices beside those that are not: the test itself, and whole rollouts of a fleet simulated in a store.

A fleet of 2,000 devices reports its heap and drops some offers; faults are planted. What counts is in which wave the
rollout stops and why, and that it does not stop without a fault.
"""

from __future__ import annotations

import os
import random
from math import comb
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select
from staged_fleet import HOUR, MINUTE, Fleet

from ota_server.fleet.waves import sequential
from ota_server.store import device_events, rollout_reports
from ota_server.store.models import Alarm, Device, Point, Rollout, RolloutDevice, RolloutEvidence, Series

STEP = 10 * MINUTE
SEEDS = 20 if os.environ.get("TIDEGATE_FULL") else 4  # fleets, each with other chances


def test_the_evidence_is_a_fair_bet():
    """Over all outcomes of n fair comparisons its mean is 1: nobody wins by betting on chance."""
    for n in range(1, 12):
        mean = sum(comb(n, k) * sequential.evidence(k, n) for k in range(n + 1)) / 2**n
        assert mean == pytest.approx(1)
    assert sequential.evidence(10, 10) == pytest.approx(2047 / 11)
    assert sequential.over([1, 0] * 10 + [-1] * 3) == sequential.Evidence(13, 10, sequential.evidence(10, 10))


def test_chance_alone_reaches_100_in_less_than_one_of_100_runs():
    chance = random.Random(5)
    reached = sum(sequential.over(chance.choice((1, -1)) for _ in range(100)).most >= 100 for _ in range(1000))
    assert reached <= 1000 * 0.01 + 3 * (1000 * 0.01 * 0.99) ** 0.5


class Simulation:
    """One rollout over hours, in steps of ten minutes; devices fail and leak with the planted probabilities."""

    def __init__(
        self,
        url: str,
        seed: int,
        *,
        rollback: float = 0,
        leak: float = 0,
        away: float = 0,
        devices: int = 2000,
        **terms: Any,
    ):
        self.chance = random.Random(seed)
        self.fleet = Fleet(url, devices)
        self.fleet.release("1.1.0", 2 + seed)
        self.sequence = 2 + seed
        self.rollback, self.leak = rollback, leak
        self.heaps: dict[str, float] = {}
        self.series: dict[str, int] = {}
        self.done: dict[str, int] = {}  # device -> when it ran the new release
        self.away = {f"gw-{n:05}" for n in range(round(devices * away))}  # a group behind a bad link
        self.silent: set[str] = set()
        words = {"waves": "1%,10%,50%,100%", "soak": "2h", "max_failures": "2%", "min_sample": 20, **terms}
        self.number = self.fleet.start("1.1.0", **words)

    def run(self, hours: int) -> dict[str, Any]:
        for _ in range(hours * HOUR // STEP):
            self._links_come_and_go()
            self._devices_go_on()
            self._measure()
            self.fleet.advance(self.number, STEP)
            with self.fleet.store.read() as session:
                ended = session.get_one(Rollout, self.number).state != "running"
            if ended:
                break
        return self.fleet.status(self.number)

    def _links_come_and_go(self) -> None:
        """Behind the bad link a device is heard in one step of eight, and then knows what it is offered."""
        if not self.away:
            return
        heard = {device for device in sorted(self.away) if self.chance.random() < 0.125}
        self.silent = self.away - heard
        with self.fleet.store.write() as session:
            granted = rollout_reports.granted(session, sorted(heard))
            for row in session.scalars(select(Device).where(Device.id.in_(self.away))):
                row.online = row.id in heard
                if row.online:
                    row.last_seen_at = self.fleet.now
                    rollout_reports.on_birth(granted.get(row.id, []), row, {}, self.fleet.now)

    def _devices_go_on(self) -> None:
        """Each device that has the offer takes it within a few steps, and then runs it or goes back."""
        said: dict[str, list[str]] = {"rolled-back": [], "confirmed": []}
        for device in sorted(self.fleet.offered(self.sequence) - self.done.keys() - self.silent):
            if self.chance.random() < 0.5:
                bad = self.chance.random() < self.rollback
                self.done[device] = 0 if bad else self.fleet.now
                said["rolled-back" if bad else "confirmed"].append(device)
        for phase, devices in said.items():
            self.fleet.say_all(devices, phase, self.sequence)

    def _measure(self) -> None:
        """The heap of the devices that are compared, of now and, when they are new here, of the hour before."""
        with self.fleet.store.write() as session:
            pairs = session.execute(
                select(RolloutDevice.device_id, RolloutDevice.control_id, RolloutDevice.granted_at).where(
                    RolloutDevice.control_id.is_not(None), RolloutDevice.granted_at > self.fleet.now - 5 * HOUR
                )
            ).all()
            points = []
            for device, control, granted in pairs:
                for one in (device, control):
                    new = one not in self.series
                    if new:
                        row = Series(device_id=one, stream="sys", name="heap", at=0, points=0)
                        session.add(row)
                        session.flush()
                        self.series[one], self.heaps[one] = row.id, self.chance.uniform(90, 110)
                    times = [granted - n * STEP - 1 for n in range(5)] if new else []
                    points += [self._point(one, at) for at in [*times, self.fleet.now]]
            if points:
                session.execute(insert(Point), points)

    def _point(self, device: str, at: int) -> dict[str, Any]:
        ran = max(0, at - self.done[device]) / HOUR if self.done.get(device) else 0
        heap = self.heaps[device] * (1 - self.leak * ran) + self.chance.gauss(0, 2)
        return {"series_id": self.series[device], "at": at, "number": heap}


def seeds() -> list[Any]:
    return [pytest.param(n, marks=[] if n < 1 else [pytest.mark.soak]) for n in range(SEEDS)]


@pytest.mark.parametrize("seed", seeds())
def test_a_slow_leak_stops_in_the_first_wave(tmp_path: Path, seed: int) -> None:
    """8 % of the heap an hour, with a noise of 2 %: no device fails, and only telemetry shows it."""
    simulation = Simulation(f"sqlite:///{tmp_path}/t.db", seed, leak=0.08, watch=["heap<2%"])
    state = simulation.run(24)
    assert state["state"] == "paused" and state["wave"] == 1, state["why"]
    assert state["why"].startswith("heap<2%:") and "did worse than devices not updated" in state["why"]
    assert max(one["evidence"] for one in state["health"]) >= 100


@pytest.mark.parametrize("seed", seeds())
def test_a_fleet_without_faults_is_not_stopped(tmp_path: Path, seed: int) -> None:
    devices = 2000 if os.environ.get("TIDEGATE_FULL") else 400
    simulation = Simulation(f"sqlite:///{tmp_path}/t.db", seed, devices=devices, watch=["heap<2%", "crashes"])
    state = simulation.run(48)
    assert state["state"] == "done", state["why"]
    assert state["counts"]["confirmed"] == devices
    assert max(one["evidence"] for one in state["health"]) < 100


@pytest.mark.parametrize("seed", seeds())
def test_a_group_behind_a_bad_link_stops_nothing(tmp_path: Path, seed: int) -> None:
    """One device in ten is heard for ten minutes in eighty: waves wait for it, and it is no failure."""
    devices = 2000 if os.environ.get("TIDEGATE_FULL") else 200
    simulation = Simulation(f"sqlite:///{tmp_path}/t.db", seed, devices=devices, away=0.1, watch=["offline"])
    state = simulation.run(96)
    assert state["state"] == "done", state["why"]
    assert state["failed"] == 0 and state["counts"]["confirmed"] >= devices * 0.97


@pytest.mark.parametrize("seed", seeds())
def test_three_percent_that_roll_back_stop_before_the_half(tmp_path: Path, seed: int) -> None:
    simulation = Simulation(f"sqlite:///{tmp_path}/t.db", seed, rollback=0.03)
    state = simulation.run(48)
    assert state["state"] == "paused" and state["wave"] <= 3, state["why"]
    assert "failed" in state["why"]
    took = 2000 - state["counts"]["waiting"]
    assert state["wave"] < 3 or took < 1100, "an early part of the half at most"


def test_restarts_are_compared(tmp_path: Path) -> None:
    """Each device boots once into the update, which counts for nothing; 30 of 40 go on booting."""
    fleet = Fleet(f"sqlite:///{tmp_path}/t.db", 300)
    fleet.release("1.1.0", 2)
    number = fleet.start(waves="40,100%", soak="1h", watch=["restarts"], max_failures="50%")
    first = sorted(fleet.offered())
    restart(fleet, first)
    for device in first:
        fleet.says(device, "confirmed")
    fleet.now += MINUTE
    restart(fleet, first[:30])
    acts = fleet.advance(number, 15 * MINUTE)
    assert acts[1].startswith("pause: restarts: 30 of 30 updated devices did worse"), acts
    with fleet.store.read() as session:
        rows = session.scalars(select(RolloutEvidence).where(RolloutEvidence.measure == "restarts")).all()
        assert sorted(row.loss for row in rows) == [0] * 10 + [1] * 30


def restart(fleet: Fleet, devices: list[str]) -> None:
    with fleet.store.write() as session:
        for device in devices:
            device_events.booted(session, device, fleet.now, {"version": "1.1.0"})


def test_crashes_and_silence_are_compared_too(tmp_path: Path) -> None:
    fleet = Fleet(f"sqlite:///{tmp_path}/t.db", 300)
    fleet.release("1.1.0", 2)
    number = fleet.start(waves="40,100%", soak="1h", watch=["crashes", "offline"], max_failures="50%")
    first = sorted(fleet.offered())
    with fleet.store.read() as session:
        paired = dict(session.execute(select(RolloutDevice.device_id, RolloutDevice.control_id)).all())
    assert len(set(paired.values())) == 40 and not set(paired.values()) & set(first), "each its own, none updated"
    for device in first:
        fleet.says(device, "confirmed")
    fleet.now += MINUTE
    with fleet.store.write() as session:
        for device in first[:30]:
            facts = {"kind": "crash", "reason": "error", "source": "device", "count": 1}
            session.add(Alarm(device_id=device, at=fleet.now, last_at=fleet.now, **facts))
    acts = fleet.advance(number, 15 * MINUTE)
    assert acts[0].startswith("compare") and acts[1].startswith("pause: crashes: 30 of 30 updated devices did worse")
    with fleet.store.read() as session:
        rows = session.scalars(select(RolloutEvidence).where(RolloutEvidence.measure == "crashes")).all()
        assert (
            sorted(row.loss for row in rows) == [0] * 10 + [1] * 30 and rows[0].control_id == paired[rows[0].device_id]
        )
    fleet.change("resume", "1.1.0")
    with fleet.store.write() as session:
        for device in first[:25]:
            row = session.get_one(Device, device)
            row.online, row.last_seen_at = False, fleet.now
    acts = fleet.advance(number, 46 * MINUTE)
    assert any(act.startswith("pause") and "offline" in act or "crashes" in act for act in acts), acts
