"""What tests do with a server that runs on a folder, whatever its processes are."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import ClassVar

import httpx
from patience import limit

from tidegate.client.server import Server


class ServedFolder:
    """Base of servers. env: of its processes, and of commands that work on its folder."""

    http_s: ClassVar[float] = 30  # for an answer
    data: Path
    env: dict[str, str]

    @property
    def url(self) -> str:
        raise NotImplementedError

    @property
    def token(self) -> str:
        return (self.data / "admin.token").read_text().strip()

    def client(self) -> Server:
        return Server(self.url, self.token)

    def http(self) -> httpx.Client:
        headers = {"Authorization": f"Bearer {self.token}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=limit(self.http_s))

    def cli(self, *arguments: str) -> str:
        command = [sys.executable, "-m", "ota_server", *arguments, "--data", str(self.data)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit(60), env=self.env)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout
