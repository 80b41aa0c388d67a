"""Debian's mosquitto as the broker of an installation, with the files `tidegate mosquitto` writes."""

from __future__ import annotations

import re
import socket
import subprocess
import time
from pathlib import Path

import programs
from patience import limit
from ports import PortTaken, on_free_port, says_taken

from lab import processes
from lab.processes import LabError

START_TIMEOUT_S = 10


class Mosquitto:
    """One broker process on a free port of the loopback; `folder` holds users, access list, configuration, log.

    port: 0 until the first start; the same for all that follow.

    certificates: a folder with server.crt and server.key, if it shall speak TLS.
    """

    def __init__(self, folder: Path, certificates: Path | None = None):
        self.folder = folder
        self.certificates = certificates
        self.port = 0
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        if self.port:
            self._start(self.port)
        else:
            on_free_port(self._start)

    def _start(self, port: int) -> None:
        file, log = self.folder / "mosquitto.conf", self.folder / "mosquitto.log"
        lines = re.sub(r"^listener .*", f"listener {port} 127.0.0.1", file.read_text(), flags=re.MULTILINE).splitlines()
        # As root mosquitto would change to its own user, who may not read this folder.
        if not any(line.startswith("user ") for line in lines):
            lines.append("user root")
            if self.certificates:
                lines += [f"certfile {self.certificates}/server.crt", f"keyfile {self.certificates}/server.key"]
        file.write_text("\n".join(lines) + "\n")
        began = log.stat().st_size if log.exists() else 0
        self._process = processes.start([programs.require("mosquitto"), "-c", file], log)
        deadline = time.monotonic() + limit(START_TIMEOUT_S)
        while self._process.poll() is None and time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    self.port = port
                    return
            time.sleep(0.05)
        said = log.read_bytes()[began:].decode(errors="replace")
        ended = self._process.poll() is not None
        self.stop()
        raise PortTaken(said) if ended and says_taken(said) else LabError(f"mosquitto did not start: {said[-500:]}")

    def stop(self) -> None:
        processes.stop(self._process)
        self._process = None

    def kill(self) -> None:
        """kill -9: what it has not saved is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
