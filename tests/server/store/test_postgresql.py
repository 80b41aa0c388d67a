"""The server on PostgreSQL: the same code, the database named in the environment."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import databases
import pytest
import signed_releases as releases
from device_commands import send, signed
from patience import limit
from server_process import eventually


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with databases.postgresql() as url:
        yield url


def test_a_fleet_on_postgresql(start, ring, url):
    server = start("--keep-rows", "3", env={"TIDEGATE_DATABASE_URL": url})
    assert not (server.data / "tidegate.db").exists()
    device = server.device("gw-1")
    device.born("1.0.0", 1)
    eventually(lambda: server.shown("gw-1")["version"])
    base = "urn:dev:org:tidegate:gw-1:"
    for number in range(5):
        for _ in range(2):
            device.say("tele/env", [{-2: base, -257: number, 0: "t", 2: number}])
    last = eventually(lambda: (rows := server.api("GET", "/devices/gw-1/telemetry/last")["streams"]) and rows)
    eventually(lambda: server.api("GET", "/devices/gw-1/telemetry/last")["streams"][0]["repeated"] == 5)
    assert last[0]["stream"] == "env"
    release = releases.make(ring.release, "1.1.0", 2)
    assert server.publish(release).status_code == 201
    assert device.wait_heard("offer") == [release["envelopes"]["unix"]]
    message = signed(ring, "gw-1", 1)
    assert send(server, "gw-1", message).status_code == 202
    assert device.wait_heard("cmd") == [message]
    assert server.api("GET", "/status")["counts"].items() >= {"devices": 1, "online": 1}.items()
    assert server.api("GET", "/audit")["whole"]
    assert server.http.get("/api/v1/devices/gw%001").status_code == 400, "PostgreSQL has no NUL in texts"
    assert server.stop() == 0
    again = start("--keep-rows", "3", data=server.data, env={"TIDEGATE_DATABASE_URL": url})
    assert again.shown("gw-1")["version"] == "1.0.0"

    def kept() -> list[float]:
        return [row["value"] for row in again.api("GET", "/devices/gw-1/telemetry")["telemetry"]]

    eventually(lambda: kept() == [4, 3, 2])
    assert again.stop() == 0 and "Traceback" not in again.log.read_text() + server.log.read_text()


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("nonsense", "postgresql+psycopg://"),
        ("postgresql+psycopg://someone:hidden-secret@127.0.0.1:1/x", "cannot be used"),
        ("postgresql+nothing://someone:hidden-secret@h/x", "postgresql+psycopg://"),
    ],
)
def test_a_database_that_is_not_there(tmp_path, address, words):
    command = [sys.executable, "-m", "ota_server", "serve", "--data", str(tmp_path / "data"), "--http", "127.0.0.1:0"]
    environment = {**os.environ, "TIDEGATE_DATABASE_URL": address}
    done = subprocess.run(
        [*command, "--mqtt", "127.0.0.1:0"], capture_output=True, text=True, timeout=limit(120), env=environment
    )
    assert done.returncode == 1 and done.stderr.startswith("Error: "), done.stderr
    assert words in done.stderr and "Traceback" not in done.stderr and "hidden-secret" not in done.stderr
