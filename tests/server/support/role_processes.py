"""One server as several processes: they meet in PostgreSQL and at the broker."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mqtt_device import Device
from patience import limit
from served_folder import ServedFolder
from server_process import BOARD, PRODUCT, eventually

WEB, DOWNLINK, FIRST, SECOND = "web", "downlink", "ingest-1-of-2", "ingest-2-of-2"
OPTIONS = {
    WEB: ["--roles", "web", "--http", "127.0.0.1:0"],
    DOWNLINK: ["--roles", "downlink"],
    FIRST: ["--roles", "ingest", "--share", "1/2"],
    SECOND: ["--roles", "ingest", "--share", "2/2"],
}


class Processes(ServedFolder):
    """The processes of one server, by name.

    ports: of the broker, or one after the other of its nodes. arguments: what each start gets beside its role.
    """

    http_s = 60

    def __init__(self, folder: Path, database: str, ports: int | Sequence[int], *arguments: str) -> None:
        nodes = [ports] if isinstance(ports, int) else ports
        self.data = folder / "data"
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self._port = nodes[0]
        self._arguments = arguments
        self._log = folder / "servers.log"
        self.env = {
            **os.environ,
            "TIDEGATE_DATABASE_URL": database,
            "TIDEGATE_BROKER_URL": "mqtt://tidegate_server@" + ",".join(f"127.0.0.1:{port}" for port in nodes),
        }

    def start(self, name: str, *, key: str = "", ready: bool = True) -> None:
        """Start one and wait until it says where it is."""
        command = [sys.executable, "-m", "ota_server", "serve", "--data", str(self.data)]
        command += [*OPTIONS[name], *self._arguments]
        with self._log.open("ab") as log:
            started = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=log, env=self.env)
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

    @property
    def url(self) -> str:
        return str(json.loads((self.data / "serve-web.json").read_text())["http"])

    def api(self, method: str, path: str, **kwargs: Any) -> Any:
        with self.http() as http:
            answer = http.request(method, f"/api/v1{path}", **kwargs)
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
