"""`tidegate serve` in a process that is killed at any moment and started again on the same folder and ports."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from patience import limit
from ports import free_port
from served_folder import ServedFolder


class KillableServer(ServedFolder):
    """Not started yet. env: what a start gets beside this process's environment."""

    def __init__(self, data: Path, *arguments: str, env: dict[str, str] | None = None, prefix: tuple[str, ...] = ()):
        self.data = data
        self.log = data.with_suffix(".log")
        self.env = {**os.environ, **(env or {})}
        self._prefix = prefix
        self.http_port, self.mqtt_port = free_port(), free_port()
        self._arguments = arguments
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http_port}"

    def spawn(self) -> None:
        """Start, without waiting for anything."""
        with contextlib.suppress(OSError):  # there may be none, or it cannot be written
            (self.data / "serve.json").unlink()
        ports = ["--http", f"127.0.0.1:{self.http_port}", "--mqtt", f"127.0.0.1:{self.mqtt_port}"]
        command = [sys.executable, "-m", "ota_server", "serve", "--data", str(self.data), *ports, *self._arguments]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*self._prefix, *command], stdout=subprocess.DEVNULL, stderr=log, env=self.env
            )

    def start(self) -> KillableServer:
        self.spawn()
        self.wait_ready()
        return self

    def wait_ready(self) -> None:
        end = time.monotonic() + limit(60)
        while not (self.data / "serve.json").exists():
            assert self.process is not None
            if self.process.poll() is not None or time.monotonic() > end:
                raise AssertionError(f"the server did not start: {self.log.read_text()[-2000:]}")
            time.sleep(0.02)

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """SIGTERM, as an init system does it; the exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(limit(30))
        except subprocess.TimeoutExpired:
            self.kill()
            raise
