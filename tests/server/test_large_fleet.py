"""A real server on the database of a fleet of ten thousand, and what it does all the time beside its work."""

from __future__ import annotations

import sqlite3
import threading
import time
from pathlib import Path

import large_database
import pytest
from large_database import DEVICES, device_id
from patience import limit
from server_process import eventually
from sqlalchemy import insert, select

from ota_server.store import now_ms
from ota_server.store.models import Point, Series


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A data folder with old telemetry in it: housekeeping has work from its first round on."""
    data = tmp_path_factory.mktemp("large") / "data"
    data.mkdir()
    store = large_database.fill(f"sqlite:///{data}/tidegate.db")
    old = now_ms() - 100 * 86_400_000
    with store.write() as session:
        rows = [{"series_id": one, "at": old, "number": 1.0} for one in session.scalars(select(Series.id))]
        session.execute(insert(Point), rows)
    store.close()
    return data


def test_four_of_four_starts_are_good_and_nobody_waits_for_housekeeping(start, folder):
    for number in range(4):
        began = time.monotonic()
        server = start(data=folder)
        assert time.monotonic() - began < limit(5)
        waits, ends = [], time.monotonic() + 1.5
        while time.monotonic() < ends:
            began = time.monotonic()
            name = f"n{number}-{len(waits)}"
            assert server.http.patch(f"/api/v1/devices/{device_id(1)}", json={"name": name}).status_code == 200
            waits.append(time.monotonic() - began)
        assert max(waits) < limit(1)
        if number == 3:
            eventually(lambda: points(folder) < large_database.SERIES * DEVICES)  # housekeeping has got to them
        assert server.stop() == 0
    assert "Traceback" not in server.log.read_text() and "locked" not in server.log.read_text()


def points(folder: Path) -> int:
    with sqlite3.connect(folder / "tidegate.db") as database:
        return database.execute("SELECT count(*) FROM point").fetchone()[0]


def test_a_database_that_another_holds_is_503_with_retry_after(start, folder):
    server = start(data=folder)
    with sqlite3.connect(folder / "tidegate.db", isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        answers = []
        url = f"/api/v1/devices/{device_id(2)}"
        asked = [
            threading.Thread(target=lambda: answers.append(server.http.patch(url, json={"name": "x"})))
            for _ in range(4)
        ]
        for thread in asked:
            thread.start()
        for thread in asked:
            thread.join()
        other.execute("ROLLBACK")
    for answer in answers:
        assert answer.status_code == 503 and int(answer.headers["Retry-After"]) > 0, answer.text
        assert answer.json()["type"] == "about:tidegate/database-busy"
    assert server.http.patch(url, json={"name": "x"}).status_code == 200
    assert "Traceback" not in server.log.read_text()
