"""Rollouts in waves of data components, on the database alone, beside one of an image on the same devices."""

from __future__ import annotations

from typing import Any

import pytest
from at_once import patiently, together
from sqlalchemy import select, update
from staged_fleet import BOARD, PRODUCT, Fleet

from ota_server.errors import Conflict, NotFound
from ota_server.fleet.waves import carry_out, change, found, preview, show, subjects
from ota_server.releases.data import let_go
from ota_server.store import data, downlink_queue, rollout_reports
from ota_server.store.models import DataTarget, Device, DeviceData, Rollout
from tidegate.rollout import place
from tidegate.rollout.terms import parse

MAPS = "maps@7"


class DataFleet(Fleet):
    """With a data component named maps."""

    def publish(self, sequence: int, held: bool = True, name: str = "maps", board: str = BOARD) -> None:
        facts = {"product": PRODUCT, "board": board, "name": name, "version": str(sequence), "envelope": b"signed"}
        with self.store.write() as session:
            target = DataTarget(**facts, sequence=sequence, digest=f"{name}-{sequence}", size=90, held=held)
            session.add(target)
            session.flush()
            if not held:
                data.offer_to_all(session, target)

    def hold(self, sequence: int) -> None:
        """All devices hold maps of this number."""
        with self.store.write() as session:
            session.execute(update(DeviceData).values(sequence=sequence, digest=f"maps-{sequence}"))

    def report(self, device: str, phase: str, sequence: int = 7, name: str = "maps", again: int | None = None) -> None:
        with self.store.write() as session:
            grants = rollout_reports.granted(session, [device]).get(device, [])
            if rollout_reports.on_data_report(grants, name, sequence, phase, f"it said {phase}", again, self.now):
                data.derive(session, [device], name)

    def has(self, sequence: int = 7, name: str = "maps") -> set[str]:
        """Who is offered the data of this number."""
        with self.store.read() as session:
            rows = select(DeviceData.device_id).join(DataTarget, DataTarget.id == DeviceData.offer_id)
            return set(session.scalars(rows.where(DataTarget.sequence == sequence, DataTarget.name == name)))

    def plan(self, version: str, **terms: Any) -> dict[str, Any]:
        with self.store.read() as session:
            facts, release = subjects.find(session, PRODUCT, version)
            return preview.preview(session, facts, release, parse({"to": "all", **terms}), self.now, name_devices=True)


@pytest.fixture
def fleet(empty) -> DataFleet:
    fleet = DataFleet(empty, 40)
    fleet.publish(6, held=False)
    fleet.hold(6)
    fleet.publish(7)
    return fleet


def test_what_is_held_back_reaches_nobody_and_the_waves_are_as_planned(fleet):
    assert fleet.has(6) and not fleet.has(7), "the one before stays on offer"
    plan = fleet.plan(MAPS, waves="25%,100%")
    assert [(row["wave"], row["version"], row["gets"], row["bytes"]) for row in plan["rows"]] == [
        (1, "6", "data", 90),
        (2, "6", "data", 90),
    ]
    assert (plan["version"], plan["kind"], plan["sequence"]) == (MAPS, "data", 7)
    number = fleet.start(MAPS, waves="25%,100%")
    first = {one for one in (f"gw-{n:05}" for n in range(40)) if place(f"{PRODUCT}/maps/7", one) < 2**30}
    assert fleet.has(7) == first and 2 < len(first) < 20 and plan["rows"][0]["devices"] == len(first)
    for device in sorted(first):
        fleet.report(device, "fetching")
        fleet.report(device, "confirmed")
    assert fleet.advance(number)[0].startswith("open") and len(fleet.has(7)) == 40
    for n in range(40):
        fleet.report(f"gw-{n:05}", "confirmed")
    assert fleet.advance(number) == ["done: wave 2 of 2 (100%) is through"]
    status = fleet.status(number)
    assert (status["version"], status["state"], status["counts"]["confirmed"]) == (MAPS, "done", 40)
    late = fleet.add(range(40, 42))
    with fleet.store.read() as session:
        assert number in [one.id for one in found.active(session)]
    fleet.advance(number)
    assert set(late) <= fleet.has(7), "who registers later gets it, too"


def test_a_refused_component_pauses_and_withdraws_what_nobody_took(fleet):
    number = fleet.start(MAPS, max_failures="0")
    with fleet.store.write() as session:
        session.execute(update(DeviceData).values(offer_sent_id=DeviceData.offer_id))
    fleet.report("gw-00001", "refused")
    fleet.report("gw-00002", "fetching")
    fleet.report("gw-00003", "failed", again=60)
    assert fleet.advance(number) == ["pause: 1 device failed, and at most 0 may"]
    assert fleet.has(7) == {"gw-00001", "gw-00002", "gw-00003"} and len(fleet.has(6)) == 37
    with fleet.store.read() as session:
        unsent = [row for queue in downlink_queue.RETAINED for row in queue.unsent(session, 100, ("", ""))]
        assert len(unsent) == 37 and {row.path for row in unsent} == {"offer/maps"}
        of = {row["id"]: row for row in _devices(fleet, number)}
    assert (of["gw-00001"]["state"], of["gw-00001"]["why"]) == ("refused", "it said refused")
    assert of["gw-00003"]["state"] == "downloading" and of["gw-00003"]["why"].startswith("tries again within 60 s")
    assert of["gw-00004"]["state"] == "waiting"
    fleet.report("gw-00005", "confirmed")
    assert "gw-00005" in fleet.has(7), "it was faster than the withdrawal, and keeps it"
    fleet.change("resume", MAPS)
    fleet.now += 1
    assert len(fleet.has(7)) == 40
    assert change.retry(fleet.store, PRODUCT, MAPS, "tester", fleet.now)["retried"] == ["gw-00001"]
    fleet.change("abort", MAPS)
    assert fleet.has(7) == {"gw-00002", "gw-00003", "gw-00005"}, "who has it keeps it"


def test_what_failed_is_shown_after_the_end_too(fleet):
    number = fleet.start(MAPS)
    fleet.report("gw-00001", "refused")
    fleet.change("abort", MAPS)
    status = fleet.status(number)
    assert (status["counts"]["refused"], status["counts"]["waiting"], status["failed"]) == (1, 39, 1)
    of = {row["id"]: (row["state"], row["why"]) for row in _devices(fleet, number)}
    assert of["gw-00001"] == ("refused", "it said refused")
    assert of["gw-00002"] == ("waiting", "its offer was withdrawn before it took it")


def test_an_image_and_data_go_to_the_same_devices_at_once(fleet):
    fleet.release("1.1.0", 7)  # the numbers of releases and of data have nothing to do with each other
    image, maps = fleet.start("1.1.0", max_failures="0"), fleet.start(MAPS, max_failures="0")
    fleet.report("gw-00001", "refused")
    fleet.says("gw-00002", "confirmed", 7)
    assert fleet.advance(maps)[0].startswith("pause") and fleet.advance(image) == []
    assert len(fleet.offered(7)) == 40 and fleet.has(7) == {"gw-00001"}
    image_status, maps_status = fleet.status(image), fleet.status(maps)
    assert (image_status["state"], image_status["counts"]["confirmed"], image_status["failed"]) == ("running", 1, 0)
    assert (maps_status["state"], maps_status["counts"]["confirmed"], maps_status["failed"]) == ("paused", 0, 1)
    fleet.publish(3, name="models")
    models = fleet.start("models@3")
    assert len(fleet.has(3, "models")) == 40 and fleet.has(7) == {"gw-00001"}
    with fleet.store.read() as session:
        assert {one.id for one in found.active(session)} == {image, models}


def test_who_gets_nothing_and_why(fleet):
    fleet.add([90], board="other")
    with fleet.store.write() as session:
        session.execute(update(DeviceData).where(DeviceData.device_id == "gw-00001").values(sequence=8))
        session.execute(update(DeviceData).where(DeviceData.device_id == "gw-00002").values(digest="maps-7"))
        session.execute(update(DeviceData).where(DeviceData.device_id == "gw-00003").values(failed_sequence=7))
    assert fleet.plan(MAPS)["excused"] == {
        "there is no maps for its board": 1,
        "it holds a newer maps": 1,
        "it holds this maps already": 1,
        "it failed at this maps before": 1,
    }
    fleet.start(MAPS)
    assert len(fleet.has(7)) == 37


def test_an_application_without_data_is_excused_at_once(fleet):
    born(fleet, "gw-00001", None)
    assert fleet.plan(MAPS)["excused"] == {"its application has no data components": 1}
    number = fleet.start(MAPS, max_failures="0", deadline="1h")
    assert "gw-00001" not in fleet.has(7)
    born(fleet, "gw-00002", None)  # it was offered it already
    of = {row["id"]: (row["state"], row["why"]) for row in _devices(fleet, number)}
    assert {of["gw-00001"], of["gw-00002"]} == {("excused", "its application has no data components")}
    for n in range(3, 40):
        fleet.report(f"gw-{n:05}", "confirmed")
    born(fleet, "gw-00000", {})
    fleet.now += 3_600_001
    assert fleet.status(number)["counts"]["overdue"] == 1
    late = next(row for row in _devices(fleet, number) if row["id"] == "gw-00000")
    assert (late["state"], late["why"]) == ("overdue", "it never answered the offer: its application may not know maps")
    born(fleet, "gw-00002", {})
    assert fleet.status(number)["counts"] | {"offered": 1, "excused": 1} == fleet.status(number)["counts"]


def born(fleet: DataFleet, name: str, held: dict[str, Any] | None) -> None:
    """The device says a birth, with the data that it holds; None: its application has no data components."""
    with fleet.store.write() as session:
        device = session.get_one(Device, name)
        device.takes_data = held is not None
        grants = rollout_reports.granted(session, [name]).get(name, [])
        rollout_reports.on_birth(grants, device, held or {}, fleet.now)


def test_what_all_have_on_offer_cannot_be_held_back(fleet):
    with pytest.raises(Conflict, match="offered it already"):
        fleet.start("maps@6")
    with pytest.raises(NotFound, match="version 9 of the data component maps"):
        fleet.start("maps@9")
    number = fleet.start(MAPS, waves="1,100%")
    assert let_go(fleet.store, PRODUCT, "maps", 7, "tester")[1] == 39
    assert len(fleet.has(7)) == 40 and fleet.status(number)["state"] == "running"
    fleet.publish(8)
    fleet.publish(9, held=False)
    with pytest.raises(Conflict, match="a newer one"):
        fleet.start("maps@8")


def _devices(fleet: DataFleet, number: int) -> list[dict[str, Any]]:
    with fleet.store.read() as session:
        return show.devices(session, session.get_one(Rollout, number), fleet.now, after="", limit=100, state=None)


def test_racing_servers_grant_data_to_exactly_as_many_as_may_have_it(empty):
    fleet = DataFleet(empty, 120)
    fleet.publish(7)
    with fleet.store.write() as session:
        facts, release = subjects.find(session, PRODUCT, MAPS)
        rollout = subjects.row(facts, release)
        rollout.terms, rollout.state = parse({"to": "all", "waves": "30,100%", "rate": "11/min"}).document(), "running"
        rollout.wave, rollout.wave_at, rollout.created_at = 1, fleet.now, fleet.now
        session.add(rollout)
        session.flush()
        number = rollout.id
    for minute in range(3):
        fleet.now += 60_001
        together(4, lambda _: patiently(lambda: carry_out.advance(fleet.store, number, fleet.now)))
        assert len(fleet.has(7)) == min(30, 11 * (minute + 1))
    with fleet.store.read() as session:
        assert session.scalar(select(Device.id).where(Device.offer_id.is_not(None))) is None
