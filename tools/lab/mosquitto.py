"""Debian's mosquitto as the broker of an installation, with the files `tidegate mosquitto` writes."""

from __future__ import annotations

import socket
import subprocess
import time
from pathlib import Path

import programs
from patience import limit
from ports import free_port

from lab import processes
from lab.processes import LabError

START_TIMEOUT_S = 10


class Mosquitto:
    """One broker process on a free port of the loopback; `folder` holds users, access list, configuration, log.

    certificates: a folder with server.crt and server.key, if it shall speak TLS.
    """

    def __init__(self, folder: Path, certificates: Path | None = None):
        self.folder = folder
        self.certificates = certificates
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        file = self.folder / "mosquitto.conf"
        lines = [
            f"listener {self.port} 127.0.0.1" if line.startswith("listener ") else line
            for line in file.read_text().splitlines()
        ]
        # As root mosquitto would change to its own user, who may not read this folder.
        if not any(line.startswith("user ") for line in lines):
            lines.append("user root")
            if self.certificates:
                lines += [f"certfile {self.certificates}/server.crt", f"keyfile {self.certificates}/server.key"]
        file.write_text("\n".join(lines) + "\n")
        self._process = processes.start([programs.require("mosquitto"), "-c", file], self.folder / "mosquitto.log")
        deadline = time.monotonic() + limit(START_TIMEOUT_S)
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)
        raise LabError(f"mosquitto did not start: {(self.folder / 'mosquitto.log').read_text()[-500:]}")

    def stop(self) -> None:
        processes.stop(self._process)
        self._process = None

    def kill(self) -> None:
        """kill -9: what it has not saved is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
