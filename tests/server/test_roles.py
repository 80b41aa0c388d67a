"""A server as several processes: they meet in PostgreSQL and at mosquitto, and any of them may be killed."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import databases
import pytest
from mosquitto_process import Mosquitto, write_files
from mqtt_device import PHASES, Device
from patience import limit
from role_processes import DOWNLINK, FIRST, OPTIONS, SECOND, WEB, Processes
from server_process import eventually

from ota_server.roles import ALL, Share, parse
from tidegate.errors import TidegateError

pytestmark = pytest.mark.broker

PACKS = 60


def test_every_device_is_in_one_share() -> None:
    shares = [Share.parse(f"{number}/4") for number in range(1, 5)]
    parts = [sum(share.has(f"gw-{number}") for number in range(4000)) for share in shares]
    assert sum(parts) == 4000 and min(parts) > 850
    assert Share().has("gw-1") and str(Share.parse("2/4")) == "2/4"


@pytest.mark.parametrize("text", ["", "0/2", "3/2", "1/65", "1/0", "a/b", "1", "-1/2", "1/2/3"])
def test_a_share_that_is_none(text: str) -> None:
    with pytest.raises(TidegateError, match="share"):
        Share.parse(text)


def test_roles_have_names() -> None:
    assert parse("web, ingest") == {"web", "ingest"} and parse(",".join(ALL)) == set(ALL)
    with pytest.raises(TidegateError, match="'wep'"):
        parse("wep")


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    with databases.postgresql() as url:
        write_files(tmp_path / "mosquitto", tmp_path / "data", "--dynamic", env={"TIDEGATE_DATABASE_URL": url})
        broker = Mosquitto(tmp_path / "mosquitto")
        made = Processes(tmp_path, url, broker.port, "--dynamic")
        try:
            yield made
        finally:
            made.stop()
            broker.stop()


def pack(device_id: str, number: int) -> list[dict[int, Any]]:
    return [{-2: f"urn:dev:org:tidegate:{device_id}:", 0: "n", 2: number, -257: 1000 + number}]


def test_four_processes_share_the_work_and_are_killed(processes: Processes) -> None:
    for name in OPTIONS:
        processes.start(name)
    devices = [processes.device(f"gw-{number}") for number in range(6)]
    ids = [device.id for device in devices]
    assert {Share(1, 2).has(device_id) for device_id in ids} == {True, False}, "both have something to do"
    for device in devices:
        device.born()

    def online() -> set[str]:
        return {row["id"] for row in processes.api("GET", "/devices")["devices"] if row["online"]}

    eventually(lambda: online() == set(ids))

    def talk(device: Device) -> None:
        for number in range(PACKS):
            device.say("tele/count", pack(device.id, number))
            if number % 20 == 0:
                device.report(PHASES["offered"], 100 + number, 0, 0)
            time.sleep(0.02)

    talking = [threading.Thread(target=talk, args=(device,)) for device in devices]
    for thread in talking:
        thread.start()
    for name in (FIRST, DOWNLINK, SECOND, WEB):
        time.sleep(0.5)
        processes.kill(name)
        processes.start(name)
    for thread in talking:
        thread.join()
    for device_id in ids:
        eventually(lambda device_id=device_id: len(processes.values(device_id)) >= PACKS)
        values = processes.values(device_id)
        # mosquitto may send what comes at the moment of a reconnection before what it had queued.
        assert sorted(values) == list(range(PACKS)), f"lost or twice: {values}"
        assert processes.reports(device_id) == PACKS // 20
    eventually(lambda: online() == set(ids))
    for device in devices:
        device.leave()


def test_a_second_process_of_a_share_waits_and_takes_over(processes: Processes) -> None:
    for name in OPTIONS:
        processes.start(name)
    processes.start(FIRST, key="standby", ready=False)
    eventually(lambda: "this one waits to take over" in processes.log, 60)
    device = processes.device(next(f"gw-{number}" for number in range(99) if Share(1, 2).has(f"gw-{number}")))
    device.born()
    eventually(lambda: processes.api("GET", f"/devices/{device.id}")["online"])
    for number in range(PACKS):
        if number == PACKS // 2:
            processes.kill(FIRST)
        device.say("tele/count", pack(device.id, number))
    eventually(lambda: len(processes.values(device.id)) >= PACKS)
    assert sorted(processes.values(device.id)) == list(range(PACKS))
    device.leave()


def refused(tmp_path: Path, *options: str, url: str = "") -> str:
    command = [sys.executable, "-m", "ota_server", "serve", "--data", str(tmp_path / "data"), *options]
    env = {**os.environ, **({"TIDEGATE_DATABASE_URL": url} if url else {})}
    done = subprocess.run(command, capture_output=True, text=True, timeout=limit(60), env=env)
    assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr
    return done.stderr


def test_what_cannot_run_apart_is_refused(tmp_path: Path) -> None:
    broker = ("--broker", "mqtt://tidegate_server@127.0.0.1:1")
    url = "postgresql+psycopg://tidegate@/postgres?host=/nowhere"
    assert "PostgreSQL" in refused(tmp_path, "--roles", "web")
    assert "broker inside" in refused(tmp_path, "--roles", "ingest", url=url)
    assert "only once" in refused(tmp_path, "--roles", "ingest", *broker, "--mosquitto", str(tmp_path), url=url)
    assert "--coap" in refused(tmp_path, "--roles", "coap", url=url)
    assert "share" in refused(tmp_path, "--roles", "ingest", "--share", "3/2", *broker, url=url)


def test_a_broker_that_lets_the_server_in_once_has_nothing_taken_from_it(tmp_path: Path) -> None:
    """Mosquitto with password files gives all processes one session: they would acknowledge what is another's."""
    with databases.postgresql() as url:
        write_files(tmp_path / "mosquitto", tmp_path / "data", env={"TIDEGATE_DATABASE_URL": url})
        broker = Mosquitto(tmp_path / "mosquitto")
        processes = Processes(tmp_path, url, broker.port)
        try:
            for name in (FIRST, SECOND, DOWNLINK):
                processes.start(name, ready=False)
            eventually(lambda: processes.log.count("only once") >= 3, 60)
            assert "tidegate mosquitto DIR --dynamic" in processes.log and "connected to" not in processes.log
        finally:
            processes.stop()
            broker.stop()
