"""On PostgreSQL, too, rows become visible in the order of their ids: who polls for newer ones misses none."""

from __future__ import annotations

import threading

import databases
from server_process import eventually

from ota_server.security import audit
from ota_server.store import Store, alarms, migrate
from ota_server.store.models import Device
from ota_server.store.pages import Place


def test_a_later_alarm_waits_for_an_earlier_one():
    with databases.postgresql() as url:
        migrate(url)
        store = Store(url)
        with store.write() as session:
            for name in ("gate-1", "gate-2"):
                session.add(Device(id=name, board="unix", product="p", password_hash="x"))
        begun, done = threading.Event(), threading.Event()

        def later() -> None:
            begun.wait(60)
            with store.write() as session:
                alarms.add(session, "gate-2", "test", "later", None, None, 1)
                audit.record(session, "a", "b", "c")
            done.set()

        thread = threading.Thread(target=later)
        thread.start()
        with store.write() as session:
            audit.record(session, "a", "b", "d")
            alarms.add(session, "gate-1", "test", "earlier", None, None, 1)
            session.flush()
            begun.set()
            assert not done.wait(1), "its id is higher, so it must not be seen first"
        eventually(done.is_set)
        thread.join(60)
        with store.read() as session:
            assert [row.reason for row in alarms.listed(session, 10, place=Place(since=0))] == ["earlier", "later"]
        store.close()
