"""From SQLite to PostgreSQL: every row arrives, a break leaves nothing, and what is there is not touched."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import databases
import pytest
import signed_releases as releases
import sqlalchemy as sa
from click.testing import CliRunner, Result
from device_commands import send, signed
from patience import limit
from server_process import ServerProcess, eventually

from tidegate.cli import main


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    with databases.postgresql() as url:
        yield url


@pytest.fixture
def url(cluster) -> str:
    return databases.new(cluster)


def move(data: Path, url: str) -> Result:
    return CliRunner().invoke(main, ["server", "move", "--data", str(data)], env={"TIDEGATE_DATABASE_URL": url})


def rows(url: str, table: str) -> int:
    engine = sa.create_engine(url)
    try:
        with engine.connect() as connection:
            return int(connection.scalar(sa.text(f"SELECT count(*) FROM {table}")) or 0)
    finally:
        engine.dispose()


def test_a_fleet_moves_and_goes_on(start, ring, url):
    server = start()
    password = server.register("gw-1")
    device = server.device("gw-1", password)
    device.born("1.0.0", 1)
    base = "urn:dev:org:tidegate:gw-1:"
    for number in range(5):
        device.say("tele/env", [{-2: base, -257: number, 0: "t", 2: number}])
    device.say("tele/env", [{-2: base, -257: 5, 0: "s", 3: "text äöü"}])
    release = releases.make(ring.release, "1.1.0", 2)
    assert server.publish(release).status_code == 201
    device.wait_heard("offer")
    assert send(server, "gw-1", signed(ring, "gw-1", 1)).status_code == 202
    device.wait_heard("cmd")
    eventually(lambda: len(server.api("GET", "/devices/gw-1/telemetry")["telemetry"]) == 6)
    telemetry = server.api("GET", "/devices/gw-1/telemetry")["telemetry"]
    groups, old = server.api("GET", "/groups"), server.api("GET", "/audit")["entries"]
    assert "another server is running" in move(server.data, url).output
    server.stop()
    moved = move(server.data, url)
    assert moved.exit_code == 0, moved.output
    assert not list(server.data.glob("tidegate.db")) and (server.data / "tidegate.db.moved").exists()
    refused = CliRunner().invoke(main, ["serve", "--data", str(server.data)])
    assert refused.exit_code == 1 and "moved to PostgreSQL" in refused.output

    again = start(data=server.data, env={"TIDEGATE_DATABASE_URL": url})
    assert again.api("GET", "/devices/gw-1/telemetry")["telemetry"] == telemetry
    assert again.api("GET", "/groups") == groups
    audit = again.api("GET", "/audit")
    assert audit["whole"] and [one for one in audit["entries"] if one["id"] <= old[0]["id"]] == old
    same = again.device("gw-1", password)
    assert same.wait_heard("offer") == [release["envelopes"]["unix"]]
    same.say("tele/env", [{-2: base, -257: 6, 0: "t", 2: 6}])
    eventually(lambda: len(again.api("GET", "/devices/gw-1/telemetry")["telemetry"]) == 7)
    ids = {row["id"] for row in again.api("GET", "/devices/gw-1/telemetry")["telemetry"]}
    assert len(ids) == 7, "new rows have new numbers"
    again.register("gw-2")
    assert again.stop() == 0 and "Traceback" not in again.log.read_text()


@pytest.fixture
def data(start) -> Path:
    server = start()
    for number in range(3):
        server.register(f"gw-{number}")
    server.stop()
    return server.data


def test_a_target_in_use_and_a_missing_source_are_refused(start, data, tmp_path, url):
    other = start(data=tmp_path / "other", env={"TIDEGATE_DATABASE_URL": url})
    other.register("theirs")
    other.stop()
    refused = move(data, url)
    assert refused.exit_code == 1 and "is not empty" in refused.output and rows(url, "device") == 1
    assert (data / "tidegate.db").exists()
    assert "names no PostgreSQL" in move(data, "").output
    assert "there is no database" in move(tmp_path / "nowhere", url).output


def test_a_break_leaves_nothing_and_it_can_be_done_again(data, url):
    """SIGKILL in the middle, then what a second run makes of it; and of a first that only lacked the last step."""
    with sqlite3.connect(data / "tidegate.db") as connection:
        connection.execute("INSERT INTO series (id, device_id, stream, name, at, points) VALUES (1,'gw-1','e','t',0,0)")
        points = [(number, 1, number, float(number)) for number in range(150_000)]
        connection.executemany("INSERT INTO point (id, series_id, at, number) VALUES (?,?,?,?)", points)
        connection.execute("DELETE FROM point WHERE id = 149999")
    connection.close()
    command = [sys.executable, "-m", "ota_server", "server", "move", "--data", str(data)]
    process = subprocess.Popen(command, env={"TIDEGATE_DATABASE_URL": url}, stdout=subprocess.DEVNULL)
    engine = sa.create_engine(url)

    def has_begun() -> bool:
        with engine.connect() as reading:
            busy = sa.text("SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'COPY%' AND pid <> pg_backend_pid()")
            return bool(reading.scalar(busy)) or process.poll() is not None

    eventually(has_begun, pause_s=0.005)
    process.send_signal(signal.SIGKILL)
    assert process.wait(limit(60)) == -signal.SIGKILL, "it was over before the kill"
    assert (data / "tidegate.db").exists()
    eventually(lambda: rows(url, "device") == 0)
    moved = move(data, url)
    assert moved.exit_code == 0, moved.output
    assert rows(url, "point") == 149_999 and rows(url, "device") == 3
    (data / "tidegate.db.moved").rename(data / "tidegate.db")
    again = CliRunner().invoke(
        main, ["server", "move", "--json", "--data", str(data)], env={"TIDEGATE_DATABASE_URL": url}
    )
    assert json.loads(again.output)["moved_before"] is True and (data / "tidegate.db.moved").exists()
    with engine.begin() as writing:
        new = writing.scalar(sa.text("INSERT INTO point (series_id, at) VALUES (1, 0) RETURNING id"))
    engine.dispose()
    assert new == 150_000, "a number is never given twice"


def test_what_postgresql_cannot_store_is_named(data, url):
    with sqlite3.connect(data / "tidegate.db") as connection:
        connection.execute("INSERT INTO series (id, device_id, stream, name, at, points) VALUES (1,'gw-1','e','t',0,0)")
        connection.execute("INSERT INTO point (series_id, at, text) VALUES (1, 0, ?)", ("a\0b",))
    connection.close()
    refused = move(data, url)
    assert refused.exit_code == 1 and "a row of point has a NUL in text" in refused.output
    assert rows(url, "device") == 0 and (data / "tidegate.db").exists()


def test_it_is_the_server_that_the_move_is_for(data: Path, url: str, start) -> None:
    assert move(data, url).exit_code == 0
    server: ServerProcess = start(data=data, env={"TIDEGATE_DATABASE_URL": url}, trusting=False)
    assert {one["id"] for one in server.api("GET", "/devices")["devices"]} == {"gw-0", "gw-1", "gw-2"}
