"""A real server process, real clients: nothing of ours is replaced in these tests."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
from mqtt_device import Device
from patience import limit, until

from tidegate.trust import keys, store

START_S = 90
PRODUCT, VENDOR, BOARD = "tidegate-gateway", "tidegate.example", "unix"


def eventually(check: Callable[[], Any], timeout_s: float = 30, pause_s: float = 0.05) -> Any:
    """The first true value of `check`; fails with its last value after the timeout (of a quiet machine)."""
    return until("what is waited for", check, timeout_s, pause_s)


class ServerProcess:
    """`tidegate serve` in a process of its own, on free ports, and a client that is its admin."""

    def __init__(self, data: Path, *arguments: str, env: dict[str, str] | None = None, prefix: tuple[str, ...] = ()):
        self.data = data
        self.log = data.with_suffix(".log")
        ports = ["--http", "127.0.0.1:0", "--mqtt", "127.0.0.1:0"]
        command = [*prefix, sys.executable, "-m", "ota_server", "serve", "--data", str(data), *ports, *arguments]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=log, env={**os.environ, **(env or {})}
            )
        started = time.monotonic()
        while not (data / "serve.json").exists():
            if self.process.poll() is not None or time.monotonic() - started > limit(START_S):
                self.process.kill()
                raise RuntimeError(f"the server did not start: {self.log.read_text()}")
            time.sleep(0.02)
        told = json.loads((data / "serve.json").read_text())
        self.url, self.mqtt, self.coap = told["http"], told["mqtt"], told.get("coap")
        self.mqtt_port = int(self.mqtt.rpartition(":")[2])
        self.token = (data / "admin.token").read_text().strip()
        self.http = httpx.Client(
            base_url=self.url, headers={"Authorization": f"Bearer {self.token}"}, timeout=limit(60)
        )
        self._devices: list[Device] = []

    def stop(self) -> int:
        """SIGTERM, as an init system does it; returns the exit code."""
        for device in self._devices:
            device.leave()
        self.http.close()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(limit(60))
        self.process.stdout.close()
        return code

    def api(self, method: str, path: str, **kwargs: Any) -> Any:
        """An API call that must succeed; returns its JSON."""
        answer = self.http.request(method, f"/api/v1{path}", **kwargs)
        assert answer.is_success, answer.text
        return answer.json()

    def token_for(self, *scopes: str) -> dict[str, str]:
        """Headers of a fresh token."""
        options = [part for scope in scopes for part in ("--scope", scope)]
        done = self.cli("token", "new", *options)
        return {"Authorization": f"Bearer {done.stdout.strip()}"}

    def cli(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "ota_server", *arguments, "--data", str(self.data)]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=limit(120))

    def register(self, device_id: str, board: str = BOARD, product: str = PRODUCT) -> str:
        """Register a device; returns its MQTT password."""
        body = {"id": device_id, "board": board, "product": product}
        return self.api("POST", "/devices", json=body)["mqtt"]["password"]

    def device(self, device_id: str, password: str | None = None, **kwargs: Any) -> Device:
        """A registered, connected device."""
        device = Device(device_id, password or self.register(device_id), self.mqtt_port, **kwargs)
        self._devices.append(device)
        return device

    def shown(self, device_id: str) -> dict[str, Any]:
        return self.api("GET", f"/devices/{device_id}")

    def publish(self, release: dict[str, Any]) -> httpx.Response:
        """Upload the payloads of a `releases.make` release and publish it."""
        for name, data in release["payloads"].items():
            self.api("PUT", f"/payloads/{name}", content=data)
        return self.http.post("/api/v1/releases", json=document(release))


def document(release: dict[str, Any]) -> dict[str, Any]:
    """The JSON of POST /api/v1/releases."""
    targets = {board: {"envelope": base64.b64encode(e).decode()} for board, e in release["envelopes"].items()}
    return {**{name: release[name] for name in ("product", "vendor", "version", "sequence")}, "targets": targets}


class KeyRing:
    """Keys for a fleet, and the trust store its devices and server hold."""

    def __init__(self, folder: Path):
        self.release = keys.new("release")
        self.command = keys.new("command")
        self.stranger = keys.new("release")
        self.trust = folder / "trust.cbor"
        self.trust.write_bytes(store.encode(store.make([self.release, self.command])))
