"""What is polled loses nothing: with `since`, lists go forward from the id that the caller has, however many came."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from ota_server.store import Store, alarms, migrate, retention, telemetry, telemetry_filing
from ota_server.store import now_ms as now
from ota_server.store.models import Device, Report
from ota_server.store.telemetry_rows import Pack, Value


@pytest.fixture
def filled(start):
    """A server whose tables have 120 rows of each kind of two devices, in turns."""
    server = start()
    for name in ("gate-1", "gate-2"):
        server.register(name)
    database = Store(f"sqlite:///{server.data}/tidegate.db")
    with database.write() as session:
        for number in range(120):
            device = ("gate-1", "gate-2")[number % 2]
            alarms.add(session, device, "test", f"reason-{number}", None, None, 1)
            session.add(Report(device_id=device, sequence=1, phase="failed", body={"number": number}))
    yield server
    database.close()


def poll(server, path: str, name: str, since: int = 0, **query) -> list[int]:
    seen: list[int] = []
    for _ in range(100):
        rows = server.api("GET", path, params={"limit": 7, "since": seen[-1] if seen else since, **query})[name]
        if not rows:
            return seen
        seen += [row["id"] for row in rows]
    raise AssertionError("a poller never comes to an end")


def everything(server, path: str, name: str, **query) -> list[int]:
    return [row["id"] for row in server.api("GET", path, params={"limit": 500, **query})[name]]


@pytest.mark.parametrize(
    ("path", "name", "query"),
    [
        ("/alarms", "alarms", {}),
        ("/devices/gate-1/alarms", "alarms", {}),
        ("/devices/gate-2/reports", "reports", {}),
        ("/audit", "entries", {}),
    ],
)
def test_a_poller_sees_every_row_once_and_in_order(filled, path, name, query):
    newest_first = everything(filled, path, name, **query)
    assert newest_first == sorted(newest_first, reverse=True) and newest_first
    assert poll(filled, path, name, **query) == newest_first[::-1]
    middle = newest_first[len(newest_first) // 2]
    assert poll(filled, path, name, middle, **query) == sorted(one for one in newest_first if one > middle)
    back: list[int] = []
    while rows := filled.api("GET", path, params={"limit": 7, **query, **({"before": back[-1]} if back else {})})[name]:
        back += [row["id"] for row in rows]
    assert back == newest_first


def test_a_clock_that_was_set_back_hides_no_alarm(tmp_path, monkeypatch):
    url = f"sqlite:///{tmp_path}/x.db"
    migrate(url)
    store, times = Store(url), [10**12]
    monkeypatch.setattr(alarms, "now_ms", lambda: times[0])
    with store.write() as session:
        alarms.raise_server_alarm(session, None, "k", "r", "first")
        session.execute(text("UPDATE alarm SET last_at = :at"), {"at": times[0]})
    times[0] -= 3_600_000
    with store.write() as session:
        alarms.raise_server_alarm(session, None, "k", "r", "an hour before, by the clock")
    with store.read() as session:
        assert len(alarms.listed(session, 10)) == 2
    store.close()


def test_a_follower_of_telemetry_goes_on_after_everything_was_pruned(tmp_path):
    url = f"sqlite:///{tmp_path}/x.db"
    migrate(url)
    store = Store(url)
    with store.write() as session:
        session.add(Device(id="gate-1", board="unix", product="p", password_hash="x"))
        session.flush()
        old = [Value("t", None, now() - 10**10 + n, float(n), None) for n in range(20)]
        telemetry_filing.add(session, [telemetry_filing.Arrived("gate-1", "env", Pack(old, None, None))])
    query = telemetry.Query()
    with store.read() as session:
        last = telemetry.arrived(session, "gate-1", query, 100, 0)[-1][0].id
    assert retention.prune_old(store, retention.Keep(days=1)) == 19, "the newest number stays"
    with store.write() as session:
        new = Pack([Value("t", None, now(), 5.0, None)], None, None)
        telemetry_filing.add(session, [telemetry_filing.Arrived("gate-1", "env", new)])
    with store.read() as session:
        rows = telemetry.arrived(session, "gate-1", query, 100, last)
    assert [point.number for point, _ in rows] == [5.0]
    store.close()
