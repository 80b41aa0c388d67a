"""Rollouts in waves of trust updates, on the database alone: who may have one, and who is left alone meanwhile."""

from __future__ import annotations

import pytest
from sqlalchemy import select, update
from staged_fleet import PRODUCT, Fleet

from ota_server.errors import Conflict
from ota_server.fleet.waves import change, preview, show, subjects
from ota_server.store import downlink_queue, rollout_reports, trust_updates
from ota_server.store.models import Device, Rollout, Target, TrustUpdate
from tidegate.rollout.terms import parse


class TrustFleet(Fleet):
    """All have version 1 of the trust store; 2 is published to all, 3 and 4 are held back."""

    def __init__(self, url: str, devices: int) -> None:
        super().__init__(url, devices)
        with self.store.write() as session:
            for version in (2, 3, 4):
                row = TrustUpdate(version=version, document=b"u" * version, store=b"s", held=version > 2)
                session.add(row)
            session.execute(update(Device).values(trust_version=2))

    def sent(self, mark: bool = True) -> dict[str, bytes]:
        """What the worker publishes of trust updates now, by device, as the broker takes it."""
        found: dict[str, bytes] = {}
        for queue in downlink_queue.RETAINED:
            if queue.sent == "trust_sent":
                some = downlink_queue.take(self.store, queue, 1000, ("", ""))
                found.update({one.device_id: one.payload for one in some})
                if mark and some:
                    with self.store.write() as session:
                        downlink_queue.mark_sent(session, queue, some)
        return found

    def born(self, device: str, version: int) -> None:
        with self.store.write() as session:
            row, grants = session.get_one(Device, device), rollout_reports.granted(session, [device]).get(device, [])
            newest = max(trust_updates.newest_version(session), rollout_reports.trust(grants))
            assert not trust_updates.on_birth(session, row, version, newest)
            rollout_reports.on_birth(grants, row, {}, self.now)


@pytest.fixture
def fleet(empty) -> TrustFleet:
    return TrustFleet(empty, 20)


def test_only_who_is_granted_it_is_handed_the_updates_one_by_one(fleet):
    assert fleet.sent() == {}, "who has what all have gets nothing of what is held back"
    number = fleet.start("trust@4", waves="3,100%")
    first = fleet.sent()
    assert len(first) == 3 and set(first.values()) == {b"uuu"}, "version 3 comes before version 4"
    status = fleet.status(number)
    assert (status["version"], status["kind"], status["counts"]["offered"]) == ("trust@4", "trust", 3)
    one = sorted(first)[0]
    fleet.born(one, 3)
    assert fleet.sent() == {one: b"uuuu"}
    fleet.born(one, 4)
    assert fleet.status(number)["counts"]["confirmed"] == 1
    with fleet.store.read() as session:
        assert downlink_queue.trust_update(session, sorted(first)[1]) == b"uuu"
        assert downlink_queue.trust_update(session, "gw-00000" if "gw-00000" not in first else "gw-00001") in (
            b"",
            b"uuu",
        )
        assert trust_updates.newest_version(session) == 2
    for device in sorted(first)[1:]:
        fleet.born(device, 4)
    assert fleet.advance(number)[0].startswith("open") and len(fleet.sent()) == 17


def test_a_refusal_pauses_and_takes_it_back(fleet):
    number = fleet.start("trust@3", max_failures="0")
    assert len(fleet.sent()) == 20 and fleet.sent() == {}
    with fleet.store.write() as session:
        grants = rollout_reports.granted(session, ["gw-00001"])["gw-00001"]
        rollout_reports.on_trust_refused(grants, session.get_one(Device, "gw-00001"), "threshold", fleet.now)
    assert fleet.advance(number) == ["pause: 1 device failed, and at most 0 may"]
    gone = fleet.sent()
    assert len(gone) == 19 and set(gone.values()) == {b""} and "gw-00001" not in gone
    assert fleet.sent() == {}, "once"
    fleet.born("gw-00002", 3)
    assert fleet.status(number)["counts"]["confirmed"] == 1, "it was faster"
    assert change.retry(fleet.store, PRODUCT, "trust@3", "tester", fleet.now)["retried"] == ["gw-00001"]
    assert fleet.sent() == {"gw-00001": b"uuu"}
    with fleet.store.write() as session:
        session.execute(update(TrustUpdate).values(held=False))
    assert len(fleet.sent()) == 19, "published to all, and so is the next: to the one that has this one"


def test_releases_go_on_beside_it(fleet):
    fleet.release("1.1.0", 2)
    trust, image = fleet.start("trust@3", waves="5,100%"), fleet.start("1.1.0")
    unsent = [
        (one.path, one.device_id)
        for queue in downlink_queue.RETAINED
        for one in downlink_queue.take(fleet.store, queue, 99, ("", ""))
    ]
    assert len({device for path, device in unsent if path == "trust"}) == 5
    # Who is held back from the trust store is not held back from a release. What one worker has taken of a device on
    # PostgreSQL (its trust update) holds the rest of it back for a moment.
    offered = {device for path, device in unsent if path == "offer"}
    assert len(offered) >= 15 and len(fleet.offered()) == 20
    with fleet.store.read() as session:
        assert session.scalar(select(Target.id).where(Target.withdrawn)) is None
    assert fleet.status(trust)["failed"] == fleet.status(image)["failed"] == 0


def test_who_gets_nothing_and_the_plan(fleet):
    with fleet.store.write() as session:
        for device, version in (("gw-00001", None), ("gw-00002", 4), ("gw-00003", 0)):
            session.execute(update(Device).where(Device.id == device).values(trust_version=version))
        facts, release = subjects.find(session, PRODUCT, "trust@4")
        plan = preview.preview(
            session, facts, release, parse({"to": "all", "waves": "100%"}), fleet.now, name_devices=True
        )
    assert plan["excused"] == {
        "it has not said yet which trust store it has": 1,
        "it has this trust store already": 1,
        "updates that come before it were never published here": 1,
    }
    assert [(row["version"], row["gets"], row["bytes"], row["through"]) for row in plan["rows"]] == [
        ("2", "trust", 7, ("trust@3",))
    ]
    number = fleet.start("trust@4")
    with fleet.store.read() as session:
        rows = show.devices(session, session.get_one(Rollout, number), fleet.now, after="", limit=50, state="offered")
    assert len(rows) == 17 and {(row["from"], row["version"]) for row in rows} == {("2", "2")}
    with pytest.raises(Conflict, match="offered it already"):
        fleet.start("trust@2")
