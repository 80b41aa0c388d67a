"""Releases that must be passed through, on the database alone: who is offered which, in channels and in waves."""

from __future__ import annotations

from sqlalchemy import update
from staged_fleet import HOUR, Fleet

from ota_server.fleet.waves import show
from ota_server.store import groups, offers, steps
from ota_server.store.models import ChannelRelease, Device, Release, Rollout, RolloutDevice, Target


def put_in_stable(fleet: Fleet, sequence: int) -> None:
    with fleet.store.write() as session:
        groups.lock(session)
        release = session.query(Release).filter_by(sequence=sequence).one()
        session.add(ChannelRelease(channel="stable", release_id=release.id))
        session.flush()
        offers.derive(session)


def offered(fleet: Fleet) -> dict[str, int | None]:
    with fleet.store.read() as session:
        found = {one.id: one.offer for one in session.query(Device)}
        return {name: target and target.release.sequence for name, target in found.items()}


def runs(fleet: Fleet, device: str, sequence: int) -> None:
    """It was born again with this release."""
    with fleet.store.write() as session:
        row = session.get_one(Device, device)
        row.sequence, row.version = sequence, f"1.{sequence - 1}.0"
        offers.derive_for(session, row)


def test_a_channel_offers_what_comes_before_it_first(empty):
    fleet = Fleet(empty, 1)
    fleet.add([1], sequence=5)
    fleet.add([2], sequence=None, version=None)
    fleet.release("1.4.0", 5)
    fleet.release("1.6.0", 7, needs_sequence=5)
    fleet.release("1.8.0", 9, needs_sequence=6)
    put_in_stable(fleet, 9)
    assert offered(fleet) == {"gw-00000": 5, "gw-00001": 7, "gw-00002": None}, "5, 7, 9; unknown is offered nothing"
    for sequence, next_one in ((5, 7), (7, 9), (9, 9)):
        runs(fleet, "gw-00000", sequence)
        assert offered(fleet)["gw-00000"] == next_one
    runs(fleet, "gw-00002", 1)
    assert offered(fleet)["gw-00002"] == 5
    with fleet.store.write() as session:
        session.execute(update(Target).where(Target.image_digest == "1.4.0-unix").values(withdrawn=True))
        groups.lock(session)
        offers.derive(session)
        target = session.query(Target).filter_by(image_digest="1.8.0-unix").one()
        assert "none that it could take is published" in str(steps.way(session, target, 1, None).why)
    assert offered(fleet)["gw-00002"] is None, "what it needs first was withdrawn"


def test_an_older_micropython_gets_nothing(empty):
    fleet = Fleet(empty)
    for number, version in enumerate(("1.24.1", "1.25.0", "1.25.0-preview", None, "1.26.0", "2.0")):
        fleet.add([number], micropython=version)
    fleet.release("1.1.0", 2, needs_micropython="1.25")
    put_in_stable(fleet, 2)
    assert [sequence for _, sequence in sorted(offered(fleet).items())] == [None, 2, 2, None, 2, 2]


def test_waves_take_devices_through_what_comes_first(empty):
    fleet = Fleet(empty, 4)
    fleet.add([4], sequence=3)
    fleet.release("1.2.0", 3)
    fleet.release("1.3.0", 4, needs_sequence=3)
    number = fleet.start("1.3.0", soak="0s", deadline="2h")
    assert offered(fleet) == {**{f"gw-0000{n}": 3 for n in range(4)}, "gw-00004": 4}
    fleet.says("gw-00000", "fetching", 3)
    fleet.says("gw-00001", "rolled-back", 3, "watchdog")
    fleet.says("gw-00001", "fetching", 2, "an old report that comes late")
    with fleet.store.read() as session:
        rows = {row.device_id: (row.state, row.why) for row in session.query(RolloutDevice)}
    assert rows["gw-00000"] == ("downloading", "fetching at sequence 3, which comes before it")
    assert rows["gw-00001"] == ("failed", "rolled-back at sequence 3, which comes before it: watchdog")
    runs(fleet, "gw-00000", 3)
    assert offered(fleet)["gw-00000"] == 4
    fleet.says("gw-00000", "confirmed", 4)
    fleet.advance(number, HOUR)
    counts = fleet.status(number)["counts"]
    assert (counts["confirmed"], counts["failed"], counts["offered"]) == (1, 1, 3)


def test_waves_leave_out_whom_no_way_leads_to(empty):
    fleet = Fleet(empty)
    fleet.add([0], micropython="1.20.0")
    fleet.add([1], micropython="1.25.0")
    fleet.add([2], sequence=None, version=None)
    fleet.release("1.1.0", 2, needs_micropython="1.25")
    number = fleet.start("1.1.0")
    counts = fleet.status(number)["counts"]
    assert (counts["offered"], counts["excused"]) == (1, 2)
    with fleet.store.read() as session:
        rows = show.devices(session, session.get_one(Rollout, number), fleet.now, after="", limit=9, state="excused")
    why = "it needs MicroPython 1.25 or newer, and has 1.20.0"
    assert [row["why"] for row in rows] == [why, "it has not said yet what it runs"]
    with fleet.store.write() as session:  # flashed anew, it has its turn
        session.get_one(Device, "gw-00000").micropython = "1.26.0"
    fleet.advance(number)
    assert fleet.status(number)["counts"]["offered"] == 2
