"""A server of one's own on this machine: `tidegate serve` as a child process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tidegate.client.server import Server
from tidegate.client.tokens import read_token
from tidegate.dev import processes
from tidegate.errors import TidegateError
from tidegate.files import is_full

START_TIMEOUT_S = 60
# The words that start `tidegate` of the package that we are; -P keeps the folder we are in off its path.
PROGRAM = (sys.executable, "-P", "-c", "from tidegate.cli import main; main(prog_name='tidegate')")


def start_serving(
    program: Sequence[str | Path],
    words: Sequence[str | Path],
    data: Path,
    log: Path,
    timeout_s: float = START_TIMEOUT_S,
    environment: Mapping[str, str] | None = None,
) -> tuple[subprocess.Popen[bytes], dict[str, str]]:
    """Run `tidegate serve` with `words` until it serves; returns the process and its addresses (DATA/serve.json)."""
    addresses = data / "serve.json"
    addresses.unlink(missing_ok=True)
    process = processes.start([*program, "serve", *words], log, env={**os.environ, **(environment or {})})
    deadline = time.monotonic() + timeout_s
    while not addresses.exists():
        if process.poll() is not None or time.monotonic() > deadline:
            processes.stop(process)
            last = log.read_text(errors="replace")[-2000:].strip()
            remedy = f"Make room on the disk of {data}" if is_full(log.parent) else f"See {log}"
            raise TidegateError(f"the server did not start: {last or 'it said nothing'}", remedy)
        time.sleep(0.05)
    return process, json.loads(addresses.read_text())


class DevServer:
    """A server with its own broker and database in `folder`, on free ports of this machine alone; with is_public of all
    its addresses, for boards of its network."""

    def __init__(self, folder: Path, trust: Path, is_public: bool = False):
        self.data = folder / "server"
        anywhere = "0.0.0.0:0" if is_public else "127.0.0.1:0"
        words = ("--data", self.data, "--http", anywhere, "--mqtt", anywhere, "--trust", trust)
        self._process, found = start_serving(PROGRAM, words, self.data, folder / "server.log")
        self.http_port, self.mqtt_port = (int(found[name].rstrip("/").rpartition(":")[2]) for name in ("http", "mqtt"))
        self.url = f"http://127.0.0.1:{self.http_port}"
        self.api = Server(self.url, read_token(self.data / "admin.token"))

    @property
    def status_page(self) -> str:
        """The page's address, with a token that may only read."""
        token = self.data / "status.token"
        command = [*PROGRAM, "token", "new", "--data", self.data, "--scope", "read", "--name", "status page"]
        done = subprocess.run([*map(str, command), "--out", str(token)], capture_output=True, text=True)
        if done.returncode:
            raise TidegateError(
                f"there is no token for the status page: {done.stderr.strip()}", "Correct what it names"
            )
        return f"{self.url}/#token={token.read_text().strip()}"

    def ended(self) -> str:
        """How its process ended by itself; "" while it runs."""
        code = self._process.poll()
        return "" if code is None else f"its process ended with {code}"

    def stop(self) -> None:
        processes.stop(self._process)
