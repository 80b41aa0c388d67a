"""What waits for webhooks, on both databases: who hears of what, that each try is made once, and the bounds."""

from __future__ import annotations

import threading

import pytest
from at_once import together
from sqlalchemy import select
from staged_fleet import Fleet

from ota_server.store import Store, alarms, now_ms, webhooks
from ota_server.store.models import WebhookDelivery
from tidegate.errors import TidegateError


@pytest.fixture
def fleet(empty):
    fleet = Fleet(empty, 4)
    yield fleet
    fleet.store.close()


def hook(fleet: Fleet, *events: str) -> int:
    with fleet.store.write() as session:
        return webhooks.add(session, "https://hooks.example/", events, private=False).id


def sent(fleet: Fleet, number: int) -> list[tuple[str, str]]:
    with fleet.store.read() as session:
        return [(row.event, row.state) for row in reversed(webhooks.log(session, number, 100))]


def test_each_hears_of_what_it_wants_in_the_same_transaction(fleet):
    rollouts, others = hook(fleet, "rollout.paused", "rollout.done"), hook(fleet, "alarm.raised")
    fleet.release("1.1.0", 2)
    number = fleet.start(max_failures="0")
    fleet.change("pause", "1.1.0", "look")
    fleet.change("resume", "1.1.0")
    for device in sorted(fleet.offered()):
        fleet.says(device, "confirmed")
    fleet.advance(number)
    assert sent(fleet, rollouts) == [("rollout.paused", "waiting"), ("rollout.done", "waiting")]
    with pytest.raises(ZeroDivisionError), fleet.store.write() as session:
        alarms.raise_server_alarm(session, None, "clock", "jumped", "x")
        raise ZeroDivisionError
    assert sent(fleet, others) == []
    with fleet.store.write() as session:
        alarms.raise_server_alarm(session, None, "clock", "jumped", "x")
        alarms.raise_server_alarm(session, None, "clock", "jumped", "x")  # counts, and is not said again
    assert sent(fleet, others) == [("alarm.raised", "waiting")]


def test_two_servers_make_each_try_once(fleet, empty):
    number, got, lock = hook(fleet, "alarm.raised"), [], threading.Lock()
    with fleet.store.write() as session:
        for _ in range(40):
            webhooks.announce(session, "alarm.raised", {})

    def serve(_: int) -> None:
        store = Store(empty)
        misses = 0
        while misses < 3:  # PostgreSQL may pass over a row that is being claimed
            with store.write() as session:
                tried = webhooks.claim(session, number, now_ms())
            misses += tried is None
            if tried is not None:
                with lock:
                    got.append(tried.id)
        store.close()

    together(4, serve)
    assert len(got) == len(set(got)) == 40
    with fleet.store.write() as session:
        assert webhooks.due(session, now_ms()) == []
        later = now_ms() + webhooks.CLAIM_MS + 1  # who had claimed them ended
        again = webhooks.claim(session, number, later)
        assert again is not None and again.number == 2
        first = again._replace(number=1)
        assert webhooks.note(session, first, 204, None, later) is None, "a claim that ran out decides nothing"
        assert webhooks.note(session, again, 204, None, later) == "delivered"
        assert webhooks.note(session, again, 204, None, later) is None


def test_pauses_grow_and_it_is_given_up_after_days(fleet):
    number, now = hook(fleet, "alarm.raised"), now_ms()
    with fleet.store.write() as session:
        webhooks.announce(session, "alarm.raised", {})
        begin = now = max(now, now_ms())
        for n in range(1, webhooks.TRIES + 1):
            tried = webhooks.claim(session, number, now)
            assert tried is not None and tried.number == n
            assert webhooks.claim(session, number, now) is None
            state = webhooks.note(session, tried, 500, "it answered 500", now)
            row = session.get_one(WebhookDelivery, tried.id)
            if n < webhooks.TRIES:
                least, most = (1000 * webhooks.pause_s(n, chance) for chance in (0, 1))
                assert state == "waiting" and least - 1 <= row.next_at - now <= most + 1
                if n < 7:  # later ones are as long as what a clock that was set back leaves
                    assert webhooks.claim(session, number, row.next_at - 1) is None
                now = row.next_at
        assert state == "given-up" and 2 < (now - begin) / 86_400_000 < 4
    assert webhooks.pause_s(1, 0.5) == 2 and webhooks.pause_s(1000, 0.5) == webhooks.LONGEST_PAUSE_S


def test_queue_log_and_webhooks_are_bounded(fleet, monkeypatch):
    monkeypatch.setattr(webhooks, "MAX_WAITING", 3)
    monkeypatch.setattr(webhooks, "KEEP", 2)
    number = hook(fleet, "alarm.raised")
    with fleet.store.write() as session:
        for _ in range(8):
            webhooks.announce(session, "alarm.raised", {})
        assert (webhooks.drop(session), webhooks.drop(session)) == (5, 0)
        assert (webhooks.prune(session), webhooks.prune(session)) == (3, 0)
    assert [state for _, state in sent(fleet, number)] == ["dropped"] * 2 + ["waiting"] * 3
    with fleet.store.write() as session:
        webhooks.remove(session, webhooks.find(session, number))
        webhooks.announce(session, "alarm.raised", {})
        assert webhooks.due(session, now_ms()) == []
        assert set(session.scalars(select(WebhookDelivery.state))) == {"dropped", "removed"}
        with pytest.raises(TidegateError, match="does not exist"):
            webhooks.find(session, number)
    for _ in range(webhooks.MAX_WEBHOOKS):
        hook(fleet, "alarm.raised")
    with pytest.raises(TidegateError, match="already"):
        hook(fleet, "alarm.raised")
