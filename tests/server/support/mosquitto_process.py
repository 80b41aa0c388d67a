"""A real mosquitto on a free port, with what `tidegate mosquitto` writes."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import programs
from mqtt_device import Device
from patience import limit
from ports import PortTaken, on_free_port, says_taken
from server_process import ServerProcess, eventually


def write_files(folder: Path, data: Path, *options: str, env: dict[str, str] | None = None) -> str:
    command = [sys.executable, "-m", "ota_server", "mosquitto", str(folder), "--data", str(data), *options]
    return subprocess.run(command, check=True, timeout=limit(120), capture_output=True, text=True, env=env).stdout


class Mosquitto:
    """One broker process; `folder` holds its configuration and log. port: that of an earlier one in this folder."""

    def __init__(self, folder: Path, port: int | None = None):
        self.folder = folder
        self.log = (folder / "log").open("ab")
        self.port, self.process = on_free_port(self._started) if port is None else self._started(port)

    def _started(self, port: int) -> tuple[int, subprocess.Popen[bytes]]:
        configuration = self.folder / "mosquitto.conf"
        text = re.sub(r"^listener \d+", f"listener {port}", configuration.read_text(), flags=re.MULTILINE)
        configuration.write_text(f"user root\n{text}" if "user root" not in text else text)
        began = self.log.tell()
        process = subprocess.Popen(
            [programs.require("mosquitto"), "-c", str(configuration)], stdout=self.log, stderr=self.log
        )

        def listens() -> bool:
            if process.poll() is not None:
                said = (self.folder / "log").read_bytes()[began:].decode(errors="replace")
                raise PortTaken(said) if says_taken(said) else AssertionError(f"mosquitto has ended: {said}")
            with socket.socket() as sock:
                return sock.connect_ex(("127.0.0.1", port)) == 0

        eventually(listens)
        return port, process

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(limit(30))
        self.log.close()


def connected(server: ServerProcess, device_id: str, password: str) -> Device:
    """mosquitto knows a new user a moment after it was registered."""
    for _ in range(300):
        device = Device(device_id, password, server.mqtt_port)
        if device.refused is None:
            server._devices.append(device)
            return device
        device.leave()
        time.sleep(0.1)
    raise AssertionError(f"mosquitto refuses {device_id}: {device.refused}")
