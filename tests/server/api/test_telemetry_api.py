"""Telemetry as people and programs see it: the API with its pages, and `tidegate device telemetry`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from typing import Any

import pytest
from patience import limit
from server_process import ServerProcess, eventually

from tidegate.wire.cbor import dumps

SLOW_S = 40


@pytest.fixture(scope="module")
def filled(shared: ServerProcess) -> ServerProcess:
    """50 values of `t` a minute apart on stream env, the newest one minute old, and one text on stream log."""
    device = shared.device("t-api")
    base, now = "urn:dev:org:tidegate:t-api:", int(time.time())
    for start in range(0, 50, 10):
        first = {-2: base, -3: now - 3000 + start * 60, -257: start, -258: start // 10, 0: "t", 1: "Cel", 2: start}
        rows = [first, *({0: "t", 1: "Cel", 2: start + n, 6: n * 60} for n in range(1, 10))]
        device.say("tele/env", rows)
        device.say("tele/env", rows)  # as after a lost acknowledgement
    device.say("tele/log", [{-2: base, 0: "state", 3: "open"}])
    eventually(lambda: len(history(shared, limit=500)["telemetry"]) == 51, SLOW_S)
    return shared


def history(server: ServerProcess, **params: object) -> dict:
    return server.api("GET", "/devices/t-api/telemetry", params=params)


def cli(server: ServerProcess, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "ota_server", "device", "telemetry", *arguments, "--server", server.url]


def environment(server: ServerProcess) -> dict[str, str]:
    return {**os.environ, "TIDEGATE_TOKEN_FILE": str(server.data / "admin.token")}


def run(server: ServerProcess, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = cli(server, *arguments)
    return subprocess.run(command, capture_output=True, text=True, timeout=limit(60), env=environment(server))


def test_pages_and_filters(filled):
    first = history(filled, name="t", limit=30)
    rest = history(filled, name="t", limit=30, cursor=first["next"])
    assert [row["value"] for row in first["telemetry"] + rest["telemetry"]] == list(range(49, -1, -1))
    assert rest["next"] is None
    row = first["telemetry"][0]
    assert (row["stream"], row["name"], row["unit"]) == ("env", "t", "Cel") and row["at"].endswith("Z")
    assert [row["value"] for row in history(filled, stream="log")["telemetry"]] == ["open"]
    half = datetime.fromisoformat(first["telemetry"][24]["at"])
    assert len(history(filled, name="t", since=half.isoformat(), limit=500)["telemetry"]) == 25
    assert len(history(filled, name="t", until=half.timestamp(), limit=500)["telemetry"]) == 25
    zone = half.astimezone(UTC).isoformat().replace("+00:00", "Z")
    assert len(history(filled, name="t", since=zone, until=zone)["telemetry"]) == 0
    newest = max(row["id"] for row in history(filled, limit=500)["telemetry"])
    assert history(filled, after=newest)["telemetry"] == []
    assert [row["id"] for row in history(filled, after=newest - 3)["telemetry"]] == [newest - 2, newest - 1, newest]


@pytest.mark.parametrize(
    "params",
    [{"since": "yesterday"}, {"until": "2026-11-21T12:00:00"}, {"since": "-1"}, {"since": "9" * 12}, {"cursor": "1"}]
    + [{"cursor": "1-2-3"}, {"limit": "x"}, {"after": "-1"}, {"since": "²"}],
)
def test_bad_parameters_are_named(filled, params):
    answer = filled.http.get("/api/v1/devices/t-api/telemetry", params=params)
    assert answer.status_code == 400 and next(iter(params)) in answer.json()["detail"], answer.text
    assert answer.json()["remedy"]


def test_the_newest_values_and_what_the_streams_lost(filled):
    told = filled.api("GET", "/devices/t-api/telemetry/last")
    assert [(row["stream"], row["name"], row["value"], row["points"]) for row in told["last"]] == [
        ("env", "t", 49, 50),
        ("log", "state", "open", 1),
    ]
    env = told["streams"][0]
    assert (env["stream"], env["packs"], env["repeated"], env["dropped"]) == ("env", 5, 5, 4)
    assert filled.shown("t-api")["streams"] == told["streams"]
    only = filled.api("GET", "/devices/t-api/telemetry/last", params={"stream": "log"})
    assert [row["name"] for row in only["last"]] == ["state"]
    assert filled.http.get("/api/v1/devices/nobody/telemetry/last").status_code == 404


def test_the_command_line_shows_history(filled):
    shown = run(filled, "t-api", "--name", "t", "--limit", "3")
    assert shown.returncode == 0 and [line.split()[3] for line in shown.stdout.splitlines()[1:]] == [
        "49.0",
        "48.0",
        "47.0",
    ]
    rows = json.loads(run(filled, "t-api", "--stream", "env", "--limit", "1000", "--since", "30m", "--json").stdout)
    assert 28 <= len(rows["telemetry"]) <= 30
    last = run(filled, "t-api", "--last")
    assert "PACKS LOST" in last.stdout and "open" in last.stdout
    assert "There are no measurements" in run(filled, "t-api", "--name", "none").stdout
    assert json.loads(run(filled, "t-api", "--last", "--json").stdout)["streams"]
    for wrong in (["--since", "soon"], ["--follow", "--last"], ["--limit", "0"]):
        assert run(filled, "t-api", *wrong).returncode == 2
    missing = run(filled, "nobody")
    assert missing.returncode == 1 and "nobody" in missing.stderr


def test_the_command_line_follows(filled):
    device = filled.device("t-follow")
    base = "urn:dev:org:tidegate:t-follow:"
    device.say("tele/env", [{-2: base, -257: 0, 0: "t", 2: 0}])
    eventually(lambda: filled.shown("t-follow")["telemetry"], SLOW_S)
    command = cli(filled, "t-follow", "--follow", "--json")
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment(filled))
    try:
        assert json.loads(process.stdout.readline())["value"] == 0
        now = time.time()
        device.say("tele/env", [{-2: base, -257: 1, 0: "t", 2: 1}])
        device.say("tele/env", [{-2: base, -257: 2, -3: now - 7200, 0: "t", 2: 2}])  # kept while it was away
        device.say("tele/env", [{-2: base, -257: 3, 0: "t", 2: 3}])
        assert [json.loads(process.stdout.readline())["value"] for _ in range(3)] == [1, 2, 3]
        process.send_signal(signal.SIGINT)
        assert process.wait(limit(20)) == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_retention_is_a_setting(start):
    server = start()
    device = server.device("t-keep")
    base, now = "urn:dev:org:tidegate:t-keep:", int(time.time())
    for number in range(8):
        device.say("tele/env", dumps([{-2: base, -257: number, -3: now - 10 + number, 0: "t", 2: number}]))
    device.say("tele/env", [{-2: base, -257: 99, -3: now - 3 * 86400, 0: "t", 2: 99}])

    def kept() -> list[float]:
        rows = server.api("GET", "/devices/t-keep/telemetry", params={"limit": 100})["telemetry"]
        return [row["value"] for row in rows]

    eventually(lambda: len(kept()) == 9, SLOW_S)
    assert server.stop() == 0
    server = start("--keep-rows", "5", "--keep-days", "2", data=server.data)

    eventually(lambda: kept() == [7, 6, 5, 4, 3], SLOW_S)


def test_roll_ups_over_the_api(start):
    server = start()
    device = server.device("t-roll")
    base, now = "urn:dev:org:tidegate:t-roll:", int(time.time()) - 7200
    for number in range(6):
        device.say("tele/env", dumps([{-2: base, -257: number, -3: now + number, 0: "t", 1: "Cel", 2: number}]))
    path = "/devices/t-roll/telemetry/rollups"

    def by_day() -> list[dict[str, Any]]:
        return server.api("GET", path, params={"step": "day"})["rollups"]

    found = eventually(lambda: sum(one["count"] for one in by_day()) == 6 and by_day())
    assert {(one["stream"], one["name"], one["unit"]) for one in found} == {("env", "t", "Cel")}
    assert min(one["min"] for one in found) == 0 and max(one["max"] for one in found) == 5
    assert server.api("GET", path, params={"since": now - 60, "limit": 500})["step"] == "minute"
    assert server.api("GET", path, params={"since": now - 90 * 86400})["step"] == "day"
    assert server.http.get(f"/api/v1{path}?step=year").status_code == 400
    assert server.http.get(f"/api/v1{path}?cursor=x").status_code == 400
