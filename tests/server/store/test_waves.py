"""Rollouts in waves, on the database alone: who is offered what and when, what stops it, what it says."""

from __future__ import annotations

import multiprocessing
import random

import pytest
from at_once import patiently, together
from sqlalchemy import func, select
from staged_fleet import HOUR, MINUTE, PRODUCT, Fleet

from ota_server.errors import Conflict
from ota_server.fleet.waves import carry_out, show
from ota_server.store import Store, absences, groups, now_ms, offers, rollout_reports
from ota_server.store.models import Absence, ChannelRelease, Device, DeviceLabel, Group, Rollout, RolloutDevice
from ota_server.store.place import Place
from tidegate.rollout import place
from tidegate.rollout.terms import parse


def test_the_database_computes_the_same_place(empty):
    fleet = Fleet(empty, 50)
    with fleet.store.read() as session:
        found = session.execute(select(Device.id, Place("p/7", Device.id))).all()
    assert found and all(place("p/7", device) == at for device, at in found)


def test_waves_by_percent_only_add(empty):
    fleet = Fleet(empty, 400)
    fleet.release("1.1.0", 2)
    number = fleet.start(waves="5%,50%,100%", soak="1h")
    first = fleet.offered()
    expected = {f"gw-{n:05}" for n in range(400) if place(f"{PRODUCT}/2", f"gw-{n:05}") < 2**32 * 0.05}
    assert first == expected and 8 < len(first) < 35
    for device in sorted(first):
        fleet.says(device, "confirmed")
    assert fleet.advance(number) == [] and "soaks for 60 min" in fleet.status(number)["why"]
    assert fleet.advance(number, HOUR - 1) == []
    acts = fleet.advance(number, 1)
    assert acts[0].startswith("open") and acts[1].startswith("grant")
    second = fleet.offered()
    assert first < second and 150 < len(second) < 250
    late = fleet.add(range(400, 440))
    fleet.advance(number)
    joined = fleet.offered() & set(late)
    assert joined == {one for one in late if place(f"{PRODUCT}/2", one) < 2**31}, "who registers later falls into place"
    status = fleet.status(number)
    assert [wave["open"] for wave in status["waves"]] == [True, True, False]
    assert sum(wave["counts"]["waiting"] for wave in status["waves"]) == 440 - len(second | joined)
    assert status["counts"]["confirmed"] == len(first) and status["counts"]["offered"] == len(second | joined) - len(
        first
    )


def test_who_waits_for_the_application_is_under_way_and_says_since_when(empty):
    fleet = Fleet(empty, 3)
    fleet.release("1.1.0", 2)
    number = fleet.start(waves="100%")
    assert "waits for 3 of 3 devices that are under way" in fleet.status(number)["why"]
    with fleet.store.write() as session:
        rows = rollout_reports.granted(session, ["gw-00000", "gw-00001"])
        for device, seconds in (("gw-00000", 7200), ("gw-00001", None)):  # older agents do not say how long
            rollout_reports.on_report(rows[device], 2, "waiting", "waiting for the application", seconds, fleet.now)
            session.get_one(Device, device).update = {"phase": "waiting", "sequence": 2}
        rollout = session.get_one(Rollout, number)
        everyone = {"after": "", "limit": 10, "state": None}
        listed = {
            row["id"]: (row["state"], row["why"]) for row in show.devices(session, rollout, fleet.now, **everyone)
        }
    since = "waiting for the application since 2027-01-15 08:00 UTC"
    assert listed["gw-00000"] == ("downloading", f"{since}, until 2027-01-15 10:00 UTC at the latest")
    assert listed["gw-00001"] == ("downloading", since) and listed["gw-00002"] == ("offered", None)
    assert fleet.status(number)["why"].endswith("under way, 2 of them for their application")
    fleet.says("gw-00000", "confirmed")
    assert fleet.status(number)["why"].endswith("under way, 1 of them for their application")


def test_waves_by_group_and_number(empty):
    fleet = Fleet(empty, 60)
    fleet.release("1.1.0", 2)
    with fleet.store.write() as session:
        session.add(Group(name="canary"))
        session.flush()
        for n in (3, 4):
            session.get_one(Device, f"gw-{n:05}").group = "canary"
    number = fleet.start(waves="canary,10,100%")
    assert fleet.offered() == {"gw-00003", "gw-00004"}
    for device in fleet.offered():
        fleet.says(device, "confirmed")
    fleet.advance(number)
    assert len(fleet.offered()) == 10
    fleet.add(range(60, 80))
    fleet.advance(number)
    assert len(fleet.offered()) == 10, "more devices make a number no larger"


def test_a_breach_pauses_and_takes_back_what_nobody_took(empty):
    fleet = Fleet(empty, 100)
    fleet.release("1.1.0", 2)
    number = fleet.start(max_failures="2%", min_sample=20)
    assert len(fleet.offered()) == 100
    fleet.says("gw-00001", "rolled-back", detail="watchdog")
    assert fleet.advance(number) == [], "one failure of one device decides nothing"
    fleet.says("gw-00002", "fetching")
    fleet.says("gw-00003", "trial")
    fleet.says("gw-00004", "failed", detail="wrong bytes")
    assert fleet.advance(number) == ["pause: 2 of 2 devices failed (100.0 %), and at most 2 % may"]
    assert fleet.offered() == {"gw-00001", "gw-00002", "gw-00003", "gw-00004"}, "who has it keeps it"
    status = fleet.status(number)
    assert (status["state"], status["why"]) == ("paused", "2 of 2 devices failed (100.0 %), and at most 2 % may")
    assert status["counts"]["waiting"] == 96 and status["counts"]["rolled-back"] == 1
    assert fleet.events(number)[-1] == ("paused", f"{status['why']}; 96 offers are withdrawn")
    with fleet.store.read() as session:
        sent = session.get_one(Device, "gw-00050")
        assert sent.offer_id is None and sent.offer_sent_id is not None, "the worker takes it from the broker"
    fleet.says("gw-00060", "fetching")  # it was faster than the withdrawal
    with fleet.store.write() as session:
        offers.derive(session)
    assert "gw-00060" in fleet.offered() and len(fleet.offered()) == 5

    fleet.change("resume", "1.1.0", None)
    fleet.now += 1
    assert len(fleet.offered()) == 100, "what failed until then is accepted"
    fleet.says("gw-00070", "refused")
    assert fleet.advance(number) == []
    fleet.says("gw-00071", "refused")
    assert fleet.advance(number)[0].startswith("pause")


def test_an_absolute_budget_needs_no_sample(empty):
    fleet = Fleet(empty, 10)
    fleet.release("1.1.0", 2)
    number = fleet.start(max_failures="0")
    fleet.says("gw-00001", "refused")
    assert fleet.advance(number) == ["pause: 1 device failed, and at most 0 may"]


def test_silence_is_no_failure_but_after_the_installation_it_is(empty):
    fleet = Fleet(empty, 10, online=False)
    fleet.release("1.1.0", 2)
    number = fleet.start(max_failures="0", deadline="4h", soak="1h", waves="50%,100%")
    with fleet.store.write() as session:
        session.query(RolloutDevice).update({"reached_at": None})
    first = sorted(fleet.offered())
    fleet.now += 11 * MINUTE
    assert fleet.status(number)["counts"]["unreachable"] == len(first) >= 3
    fleet.says(first[0], "fetching")
    fleet.says(first[1], "installed")
    assert fleet.advance(number, 3 * HOUR) == []
    counts = fleet.status(number)["counts"]
    assert (counts["installed"], counts["unreachable"], counts["overdue"]) == (1, len(first) - 1, 0)
    assert fleet.advance(number, 2 * HOUR) == ["pause: 1 device failed, and at most 0 may"]
    assert fleet.status(number)["counts"]["overdue"] == 1, "it installed it and was never heard again"


def test_a_connected_device_that_does_nothing_is_overdue(empty):
    fleet = Fleet(empty, 4)
    fleet.release("1.1.0", 2)
    number = fleet.start(deadline="1h")
    fleet.now += 2 * HOUR
    assert fleet.status(number)["counts"]["overdue"] == 4


def test_the_rate_and_the_window(empty):
    fleet = Fleet(empty, 100)
    fleet.release("1.1.0", 2)
    number = fleet.start(rate="30/min", window="09:00-10:00")  # 2027-01-15 08:00 UTC
    assert fleet.offered() == set()
    assert fleet.advance(number) == [] and "2027-01-15 09:00 UTC" in fleet.status(number)["why"]
    assert fleet.advance(number, HOUR) == ["grant 30"]
    assert "wait for their turn, 30/min" in fleet.status(number)["why"]
    assert fleet.advance(number, MINUTE) == ["grant 30"] and len(fleet.offered()) == 60


def test_promote_abort_and_starting_again(empty):
    fleet = Fleet(empty, 200)
    fleet.release("1.1.0", 2)
    number = fleet.start(waves="10%,100%", manual=True)
    for device in sorted(first := fleet.offered()):
        fleet.says(device, "confirmed")
    assert fleet.advance(number) == [] and "waits for a person" in fleet.status(number)["why"]
    assert fleet.change("start", "1.1.0", parse(fleet.status(number)["terms"]))["started"] is False
    with pytest.raises(Conflict, match="on other terms"):
        fleet.change("start", "1.1.0", parse({"to": "all"}))
    fleet.change("promote", "1.1.0", "CI is green")
    assert len(fleet.offered()) == 200
    answer = fleet.change("abort", "1.1.0", None)
    assert answer["state"] == "aborted" and fleet.offered() == first
    with pytest.raises(Conflict, match="is aborted"):
        fleet.change("resume", "1.1.0", None)
    again = fleet.start(waves="10%,100%", manual=True)
    assert again != number and fleet.status(again)["counts"]["waiting"] == 200 - len(first)


def test_a_done_rollout_reaches_newcomers_and_a_newer_one_comes_on_top(empty):
    fleet = Fleet(empty, 40)
    fleet.release("1.1.0", 2)
    number = fleet.start()
    for device in sorted(fleet.offered()):
        fleet.says(device, "confirmed")
    assert fleet.advance(number) == ["done: wave 1 of 1 (100%) is through"]
    late = fleet.add([90])
    fleet.advance(number)
    assert set(late) <= fleet.offered()
    fleet.release("1.2.0", 3)
    newer = fleet.start("1.2.0", waves="20%,100%")
    assert 0 < len(fleet.offered(3)) < 30 and not fleet.offered(3) & fleet.offered(2)
    fleet.change("pause", "1.2.0", "look")
    assert fleet.offered(3) == set() and len(fleet.offered(2)) == 41, "what was before comes back"
    assert fleet.status(newer)["why"] == "look"


def test_pinned_groups_and_channels_are_respected(empty):
    fleet = Fleet(empty, 20)
    fleet.release("1.1.0", 2)
    with fleet.store.write() as session:
        held = session.scalar(select(Rollout.id)) or 1  # release 1.0.0
        session.add(Group(name="held", release_id=held))
        session.flush()
        session.get_one(Device, "gw-00001").group = "held"
        session.get_one(Device, "gw-00002").board = "other"
        session.get_one(Device, "gw-00003").sequence = 2
        session.get_one(Device, "gw-00004").sequence = 3
        session.get_one(Device, "gw-00005").failed_sequence = 2
    number = fleet.start()
    assert len(fleet.offered()) == 15 and fleet.status(number)["counts"]["excused"] == 5
    with fleet.store.write() as session:
        session.get_one(Device, "gw-00006").group = "held"
        session.flush()
        offers.derive(session)
    assert "gw-00006" not in fleet.offered(), "a group that is pinned later holds its devices"
    fleet.release("1.2.0", 3)
    with fleet.store.write() as session:
        groups.lock(session)
        session.add(ChannelRelease(channel="stable", release_id=3))
        session.flush()
        offers.derive(session)
    assert fleet.offered() == set() and len(fleet.offered(3)) >= 15, "what is newer in the channel comes first"


def test_waves_that_would_hold_nothing_back_are_refused(empty):
    fleet = Fleet(empty, 5)
    fleet.release("1.1.0", 2)
    with fleet.store.write() as session:
        session.add(ChannelRelease(channel="stable", release_id=2))
        session.flush()
        offers.derive(session)
    with pytest.raises(Conflict, match="stands in the channel stable"):
        fleet.start(waves="1%,100%")


def test_selectors_in_the_database(empty):
    fleet = Fleet(empty, 30)
    fleet.release("1.1.0", 2)
    with fleet.store.write() as session:
        for n in range(10):
            session.add(DeviceLabel(device_id=f"gw-{n:05}", key="site", value="vienna" if n % 2 else "graz"))
        session.get_one(Device, "gw-00001").name = "roof"
    for text, many in (
        ("label.site=vienna", 5),
        ("label.site=vienna|graz", 10),
        ("label.site!=vienna", 25),
        ("device=roof|gw-00002", 2),
        ("board=unix,version=1.0.0,channel=stable,group=default,sequence<2", 30),
        ("board!=unix", 0),
        ("seen<1h", 30),
        ("seen>1h", 0),
    ):
        with fleet.store.write() as session:
            session.query(Device).update({"last_seen_at": fleet.now})
        number = fleet.start(to=text)
        assert len(fleet.offered()) == many, text
        fleet.change("abort", "1.1.0", None)
        with fleet.store.write() as session:
            session.query(RolloutDevice).filter_by(rollout_id=number).delete()
            offers.derive(session)


# ---------------------------------------------------------------- many at once


def _server(url: str, number: int, now: int, devices: list[str], start: object) -> None:
    """One process: two threads judge and grant, one files births."""
    store = Store(url)

    def birth(device: str) -> None:
        with store.write() as session:
            row = session.get_one(Device, device, with_for_update=True)
            row.last_seen_at = now_ms()
            if device.endswith("0"):  # deriving takes ten statements: all of them would take the test's time, too
                offers.derive_for(session, row)

    def work(thread: int) -> None:
        if thread == 0:
            for device in devices:
                patiently(lambda device=device: birth(device))  # type: ignore[misc]
        else:
            for minute in range(20):  # each begins with all of them wanting the next seven
                patiently(lambda at=now + minute * MINUTE: carry_out.advance(store, number, at))  # type: ignore[misc]

    start.wait()  # type: ignore[attr-defined]
    together(3, work)
    store.close()


def test_four_servers_and_a_thousand_devices_against_a_limit_of_100(empty):
    """Every process judges and grants as fast as it can, while the devices' births derive their offers."""
    fleet = Fleet(empty, 1000)
    fleet.release("1.1.0", 2)
    with fleet.store.write() as session:
        rollout = Rollout(release_id=2, terms=parse({"to": "all", "waves": "100", "rate": "7/min"}).document())
        rollout.state, rollout.wave, rollout.wave_at = "running", 1, fleet.now
        session.add(rollout)
        session.flush()
        number = rollout.id
    fleet.store.engine.dispose()
    context = multiprocessing.get_context("spawn")
    start = context.Barrier(4)
    ids = [f"gw-{n:05}" for n in range(1000)]
    random.Random(1).shuffle(ids)
    work = [context.Process(target=_server, args=(empty, number, fleet.now, ids[n::4], start)) for n in range(4)]
    for process in work:
        process.start()
    for process in work:
        process.join()
        assert process.exitcode == 0
    for _ in range(40):
        fleet.advance(number, MINUTE)
    with fleet.store.read() as session:
        assert session.scalar(select(func.count()).select_from(RolloutDevice)) == 100
        by_minute = select(func.count()).select_from(RolloutDevice).group_by(RolloutDevice.granted_at)
        assert max(session.scalars(by_minute)) <= 7
    assert len(fleet.offered()) == 100


def test_a_server_that_was_away_finds_nobody_overdue(empty):
    """It comes back to devices that did what they should, and had nobody to tell it."""
    fleet = Fleet(empty, 20)
    fleet.release("1.1.0", 2)
    number = fleet.start(max_failures="0", deadline="1h", soak="30m", waves="50%,100%")
    first = sorted(fleet.offered())
    fleet.say_all(first, "installed")
    hears(fleet)
    fleet.now += 8 * HOUR
    assert fleet.status(number)["counts"]["overdue"] == len(first), "nobody has looked yet"
    hears(fleet)
    assert fleet.status(number)["counts"]["overdue"] == 0
    assert fleet.advance(number) == []
    fleet.say_all(first[1:], "confirmed")
    assert fleet.advance(number, 20 * MINUTE) == [], "they soak from then on"
    assert fleet.advance(number, 49 * MINUTE) == [], "ten minutes to come back, and then its hour"
    assert fleet.advance(number, MINUTE) == ["pause: 1 device failed, and at most 0 may"]


def test_a_soak_time_stands_still_while_nobody_is_heard(empty):
    fleet = Fleet(empty, 20)
    fleet.release("1.1.0", 2)
    number = fleet.start(deadline="4h", soak="1h", waves="50%,100%")
    fleet.say_all(sorted(fleet.offered()), "confirmed")
    hears(fleet)
    fleet.now += 3 * HOUR
    hears(fleet)
    assert fleet.advance(number) == [], "what they measured in their soak time was not heard"
    assert fleet.advance(number, HOUR + 9 * MINUTE) == []
    assert fleet.advance(number, MINUTE)[0].startswith("open: wave 1 of 2")


def test_short_breaks_are_no_absences_and_old_ones_go(empty):
    fleet = Fleet(empty)
    for _ in range(5):
        hears(fleet)
        fleet.now += absences.LEAST_MS - 1
    with fleet.store.read() as session:
        assert absences.after(session, 0) == 0
    hears(fleet)
    fleet.now += HOUR
    hears(fleet)
    with fleet.store.read() as session:
        assert absences.after(session, 0) == HOUR + absences.SETTLE_MS
        assert absences.after(session, fleet.now) == absences.SETTLE_MS
        assert absences.after(session, fleet.now + absences.SETTLE_MS) == 0
    fleet.now += 2 * absences.KEEP_MS
    hears(fleet)
    with fleet.store.read() as session:
        assert session.scalar(select(func.count()).select_from(Absence)) == 1


def hears(fleet: Fleet) -> None:
    with fleet.store.write() as session:
        absences.heard(session, fleet.now)
