"""A server as several processes: they meet in PostgreSQL and at mosquitto, and any of them may be killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import databases
import httpx
import pytest
from mosquitto_process import Mosquitto, write_files
from mqtt_device import PHASES, Device
from patience import limit
from server_process import BOARD, PRODUCT, eventually

from ota_server.roles import ALL, Share, parse
from tidegate.errors import TidegateError

pytestmark = pytest.mark.broker

WEB, DOWNLINK, FIRST, SECOND = "web", "downlink", "ingest-1-of-2", "ingest-2-of-2"
OPTIONS = {
    WEB: ["--roles", "web", "--http", "127.0.0.1:0"],
    DOWNLINK: ["--roles", "downlink"],
    FIRST: ["--roles", "ingest", "--share", "1/2"],
    SECOND: ["--roles", "ingest", "--share", "2/2"],
}
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


class Processes:
    """The processes of one server, by name."""

    def __init__(self, folder: Path, database: str, port: int) -> None:
        self.data = folder / "data"
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self._port = port
        self._log = folder / "servers.log"
        self._env = {
            **os.environ,
            "TIDEGATE_DATABASE_URL": database,
            "TIDEGATE_BROKER_URL": f"mqtt://tidegate_server@127.0.0.1:{port}",
        }

    def start(self, name: str, *, key: str = "", ready: bool = True) -> None:
        """Start one and wait until it says where it is."""
        command = [sys.executable, "-m", "ota_server", "serve", "--data", str(self.data), "--dynamic", *OPTIONS[name]]
        with self._log.open("ab") as log:
            started = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=log, env=self._env)
        self.running[key or name] = started
        place = self.data / f"serve-{name}.json"

        def is_ready() -> bool:
            assert started.poll() is None, self.log
            return place.exists() and json.loads(place.read_text())["pid"] == started.pid

        if ready:
            eventually(is_ready, 90)

    def kill(self, name: str) -> None:
        process = self.running.pop(name)
        process.send_signal(signal.SIGKILL)
        process.wait()

    def stop(self) -> None:
        for process in self.running.values():
            process.terminate()
        codes = {name: process.wait(limit(60)) for name, process in self.running.items()}
        assert not any(codes.values()), f"{codes}\n{self.log}"

    @property
    def log(self) -> str:
        return self._log.read_text()

    def api(self, method: str, path: str, **kwargs: Any) -> Any:
        url = json.loads((self.data / "serve-web.json").read_text())["http"]
        token = (self.data / "admin.token").read_text().strip()
        headers = {"Authorization": f"Bearer {token}"}
        answer = httpx.request(method, f"{url}/api/v1{path}", headers=headers, timeout=limit(60), **kwargs)
        assert answer.is_success, answer.text
        return answer.json()

    def device(self, device_id: str) -> Device:
        facts = {"id": device_id, "product": PRODUCT, "board": BOARD}
        password = self.api("POST", "/devices", json=facts)["mqtt"]["password"]
        for _ in range(300):  # mosquitto knows a new user a moment later
            device = Device(device_id, password, self._port)
            if device.refused is None:
                return device
            device.leave()
            time.sleep(0.1)
        raise AssertionError(device.refused)

    def values(self, device_id: str) -> list[int]:
        found: list[int] = []
        row = 0
        path = f"/devices/{device_id}/telemetry?stream=count&limit=500&after="
        while rows := self.api("GET", path + str(row))["telemetry"]:
            found += [int(one["value"]) for one in rows]
            row = rows[-1]["id"]
        return found

    def reports(self, device_id: str) -> int:
        return len(self.api("GET", f"/devices/{device_id}/reports?limit=500")["reports"])


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    with databases.postgresql() as url:
        write_files(tmp_path / "mosquitto", tmp_path / "data", "--dynamic", env={"TIDEGATE_DATABASE_URL": url})
        broker = Mosquitto(tmp_path / "mosquitto")
        made = Processes(tmp_path, url, broker.port)
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
