"""What people look at, of a fleet: the database counts and orders it as the rule says."""

from __future__ import annotations

import itertools
import random

import large_database
import pytest
from large_database import device_id

from ota_server.fleet import attention, offer_state, rollout_progress
from ota_server.store import Store, devices, now_ms
from ota_server.store.models import ChannelRelease, Device, Release, Target

SEED = random.randrange(2**32)
STATES = rollout_progress.STATES


def release(session, sequence: int, digest: str) -> Release:
    row = Release(product="tidegate-gateway", vendor="v", version=f"1.{sequence}.0", sequence=sequence)
    session.add(row)
    session.flush()
    session.add(ChannelRelease(channel="stable", release_id=row.id))
    facts = {"envelope": b"e", "manifest_digest": "0" * 64, "image_size": 1, "patches": []}
    session.add(Target(release_id=row.id, board="unix", image_digest=digest, **facts))
    session.flush()
    session.refresh(row)
    return row


@pytest.fixture
def fleet(empty) -> Store:
    """One device for each way in which the facts that decide a state can lie, twice; by a random order of ids."""
    store = large_database.fill(empty, devices=0, series=0)
    digest = "a" * 64
    said = [None]
    said += [{"sequence": s, "again_s": a, "phase": "failed"} for s in (2, 3, 2**60) for a in (None, 0, 75)]
    said += [{"phase": "fetching"}]
    facts = itertools.product((None, 1, 2, 3), (None, digest), (False, True), (None, 1, 3), said, (False, True))
    with store.write() as session:
        old, new = release(session, 2, "b" * 64), release(session, 3, digest)
        for number, (sequence, runs, trial, failed, update, sent) in enumerate(facts):
            offered = random.Random(SEED + number).choice([None, old, new, new])
            target = offered.targets[0].id if offered else None
            row = Device(id=device_id(number), board="unix", product="tidegate-gateway", password_hash="x")
            row.sequence, row.digest, row.trial, row.failed_sequence, row.update = sequence, runs, trial, failed, update
            row.offer_id, row.offer_sent_id, row.online = target, target if sent else None, number % 3 == 0
            session.add(row)
        for number, row in enumerate(session.query(Device).order_by(Device.id).limit(40)):
            row.revoked_at = now_ms() if number % 2 else None
            row.cloned_at = None if number % 2 else now_ms()
    yield store
    store.close()


def test_the_database_sees_the_states_that_the_rule_gives(fleet):
    with fleet.read() as session:
        new = session.query(Release).filter_by(sequence=3).one()
        rows = devices.with_offers(session, session.query(Device).order_by(Device.id).statement)
        expected = {}
        for row in rows:
            mine = row.offer is not None and row.offer.release_id == new.id
            state = (offer_state.of_image(row) if mine else None) or "none"
            if not mine and row.sequence == 3 and not row.trial:
                state = "running"
            if row.revoked_at is None:
                expected[row.id] = state
        assert set(expected.values()) == set(STATES), SEED
        found, after, pages = {}, None, 0
        while True:
            answer = rollout_progress.status(session, new, rollout_progress.Page(100, after))
            found |= {one["id"]: one["state"] for one in answer["devices"]}
            pages += 1
            if answer["next"] is None:
                break
            rank, _, last = answer["next"].partition("-")
            after = int(rank), last
        assert found == expected and pages > 5, SEED
        assert list(found) == sorted(found, key=lambda one: (STATES.index(found[one]), one))
        for state in STATES:
            count = sum(1 for one in expected.values() if one == state)
            assert answer["counts"][state] == count
            some = rollout_progress.status(session, new, rollout_progress.Page(3, None, state))["devices"]
            assert [one["state"] for one in some] == [state] * min(3, count)
        failing = rollout_progress.in_states(session, new, ("failed", "retrying"))
        assert failing == sorted(one for one, state in expected.items() if state in ("failed", "retrying"))


def test_the_page_shows_those_in_trouble_first(fleet):
    def trouble(row: Device) -> int:
        state = offer_state.of_image(row)
        if row.revoked_at is not None:
            return 4
        return 0 if row.cloned_at or state == "failed" else 1 if state == "retrying" else 2 if row.trial else 3

    with fleet.read() as session:
        rows = devices.with_offers(session, session.query(Device).order_by(Device.id).statement)
        shown = attention.listed(session, len(rows))
        assert [row.id for row in shown] == [row.id for row in sorted(rows, key=lambda row: (trouble(row), row.id))]
        alive = [row for row in rows if row.revoked_at is None]
        states = [offer_state.of_image(row) for row in alive]
        assert attention.counts(session) == {
            "devices": len(rows),
            "online": sum(row.online for row in rows),
            "updating": sum((row.update or {}).get("phase") == "fetching" for row in alive),
            "retrying": states.count("retrying"),
            "failed": states.count("failed"),
        }
