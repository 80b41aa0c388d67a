"""What holds a rollout from outside: a gate that asks, and an error budget that is spent. On the database alone."""

from __future__ import annotations

import json

import pytest
from sqlalchemy import select
from staged_fleet import HOUR, MINUTE, PRODUCT, Fleet

from ota_server.errors import Conflict
from ota_server.fleet import rollouts
from ota_server.fleet.waves import change
from ota_server.releases import slo
from ota_server.store import webhooks
from ota_server.store.models import Audit, Report, WebhookDelivery

DAY = 24 * HOUR


def messages(fleet: Fleet) -> list[tuple[int, dict]]:
    with fleet.store.read() as session:
        found = session.scalars(select(WebhookDelivery).order_by(WebhookDelivery.id))
        return [(row.webhook_id, json.loads(row.body)["data"]) for row in found if row.event == "rollout.gate"]


def through(fleet: Fleet) -> None:
    """All that is offered is confirmed."""
    for device in sorted(fleet.offered()):
        fleet.says(device, "confirmed")


def test_a_gate_is_asked_also_where_a_person_opens_the_waves(empty):
    """And without an answer the rollout waits on: a person was asked, too."""
    fleet = Fleet(empty, 10)
    fleet.release("1.1.0", 2)
    with fleet.store.write() as session:
        asked = webhooks.add(session, "https://ci.example/", ["rollout.gate"], private=False).id
    number = fleet.start(waves="2,100%", gate=f"webhook:{asked}", gate_timeout="4h", manual=True)
    through(fleet)
    assert [act.split(":")[0] for act in fleet.advance(number)] == ["ask"] and len(messages(fleet)) == 1
    assert fleet.advance(number, 5 * HOUR) == [] and "a person or it goes on" in fleet.status(number)["why"]
    change.promote(fleet.store, PRODUCT, "1.1.0", "tests passed", "ci", fleet.now, wave=1)
    assert len(fleet.offered()) == 10


def test_a_wave_waits_for_its_gate(empty):
    fleet = Fleet(empty, 10)
    fleet.release("1.1.0", 2)
    with fleet.store.write() as session:
        asked = webhooks.add(session, "https://ci.example/", ["rollout.done"], private=False).id
        other = webhooks.add(session, "https://chat.example/", ["rollout.gate"], private=False).id
    with pytest.raises(Conflict, match="webhook 99 does not exist"):
        fleet.start(waves="2,5,100%", gate="webhook:99")
    number = fleet.start(waves="2,5,100%", gate=f"webhook:{asked}", gate_timeout="4h")
    assert messages(fleet) == [], "the wave is under way"
    through(fleet)
    assert [act.split(":")[0] for act in fleet.advance(number)] == ["ask"]
    assert fleet.advance(number, 20 * MINUTE) == [], "it is asked once"
    why = fleet.status(number)["why"]
    assert f"waits for the gate webhook:{asked}, asked 20 min ago, until 20" in why
    ((receiver, facts),) = messages(fleet)
    assert (receiver, facts["wave"], facts["version"]) == (asked, 1, "1.1.0") and other != asked
    change.promote(fleet.store, PRODUCT, "1.1.0", "tests passed", "ci", fleet.now, wave=1)
    assert len(fleet.offered()) == 5
    with pytest.raises(Conflict, match="wave 2 of .* is the newest, not wave 1"):
        change.promote(fleet.store, PRODUCT, "1.1.0", "tests passed", "ci", fleet.now, wave=1)
    through(fleet)
    fleet.advance(number)
    assert len(messages(fleet)) == 2
    acts = fleet.advance(number, 4 * HOUR)
    assert acts == [f"pause: wave 2 of 3 (5) is through, and the gate webhook:{asked} gave no answer in 4 h"]
    fleet.change("resume", "1.1.0", "it was down")
    assert len(messages(fleet)) == 3, "it is asked once more"
    change.promote(fleet.store, PRODUCT, "1.1.0", None, "ci", fleet.now)
    through(fleet)
    fleet.advance(number)
    assert fleet.status(number)["state"] == "done", "the last wave has no gate: nothing comes after it"


def test_a_gate_by_name_tells_all_that_listen(empty):
    fleet = Fleet(empty, 4)
    fleet.release("1.1.0", 2)
    with fleet.store.write() as session:
        listens = webhooks.add(session, "https://chat.example/", ["rollout.gate"], private=False).id
        webhooks.add(session, "https://ci.example/", ["rollout.done"], private=False)
    number = fleet.start(waves="2,100%", gate="ci")
    through(fleet)
    fleet.advance(number)
    assert [receiver for receiver, _ in messages(fleet)] == [listens]
    assert "waits for the gate ci" in fleet.status(number)["why"]


def ended(fleet: Fleet, devices: range, phase: str, at: int, sequence: int = 1, **body: object) -> None:
    with fleet.store.write() as session:
        for n in devices:
            session.add(Report(device_id=f"gw-{n:05}", at=at, sequence=sequence, phase=phase, body=dict(body)))


def test_a_spent_error_budget_freezes_what_is_new(empty):
    fleet = Fleet(empty, 60)
    fleet.release("1.1.0", 2)
    fleet.release("1.2.0", 3)
    running = fleet.start(waves="10,100%")
    slo.put(fleet.store, PRODUCT, "10%/30d", "tester")
    now = fleet.now
    ended(fleet, range(40), "confirmed", now)
    ended(fleet, range(4), "rolled-back", now)  # each of them once, as failed
    ended(fleet, range(20, 40), "failed", now, again=60)  # they try again
    ended(fleet, range(20, 40), "refused", now, sequence=0)  # anybody can send them what they refuse
    ended(fleet, range(40, 60), "failed", now - 31 * DAY)
    with fleet.store.read() as session:
        assert slo.of(session, PRODUCT, now)[1:3] == (4, 40)
        slo.check(session, PRODUCT, now)
    ended(fleet, range(50, 60), "failed", now - 29 * DAY)
    sentence = "the error budget 10%/30d is spent: 14 of 50 updates failed in the last 30 d"
    with pytest.raises(Conflict, match="nothing new is rolled out: the error budget 10%/30d is spent"):
        rollouts.start(fleet.store, PRODUCT, "1.2.0", ("channel", "stable"), "tester")
    number = fleet.start("1.2.0")
    assert fleet.status(number)["why"].startswith(f"frozen: {sentence}; to begin all the same: tidegate rollout slo")
    assert fleet.offered(3) == set() and fleet.advance(number) == []
    through(fleet)
    assert fleet.advance(running)[0].startswith("open"), "what has reached somebody goes on"
    assert fleet.advance(number, 2 * DAY)[0].startswith("grant"), "the failures are older than 30 days"


def test_a_person_lifts_it_and_the_audit_log_has_it(empty):
    fleet = Fleet(empty, 30)
    fleet.release("1.1.0", 2)
    with pytest.raises(Conflict, match="has no error budget"):
        slo.lift(fleet.store, PRODUCT, 3600, "a hotfix", "anna")
    slo.put(fleet.store, PRODUCT, "1%/7d", "tester")
    now = slo.now_ms()
    fleet.now = now
    ended(fleet, range(2), "failed", now)
    number = fleet.start("1.1.0")
    assert "frozen" in fleet.status(number)["why"]
    shown = slo.lift(fleet.store, PRODUCT, 3600, "a hotfix", "anna")
    assert shown["spent"] and not shown["frozen"] and "lifted until" in shown["why"]
    assert fleet.advance(number)[0].startswith("grant 30")
    with fleet.store.read() as session:
        found = [row for row in session.scalars(select(Audit)) if row.action == "slo.lift"]
    assert [(row.actor, row.detail["why"]) for row in found] == [("anna", "a hotfix")]
    assert slo.put(fleet.store, PRODUCT, None, "tester") is None
