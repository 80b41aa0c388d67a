"""`tidegate simulate` as a process beside a server."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from patience import limit
from server_process import ServerProcess


class Simulation:
    """`tidegate simulate` in a process of its own."""

    def __init__(self, folder: Path, server: ServerProcess, text: str, *options: str):
        (folder / "scenario.toml").write_text(text)
        self.out = folder / "figures.json"
        command = [str(Path(sys.executable).with_name("tidegate")), "simulate", "--server", server.url]
        command += [
            "--broker",
            f"mqtt://127.0.0.1:{server.mqtt_port}",
            "--token-file",
            str(server.data / "admin.token"),
        ]
        command += ["--scenario", str(folder / "scenario.toml"), "--accounts", str(folder / "devices.json")]
        command += ["--pid", f"server={server.process.pid}", "--out", str(self.out), *options]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=folder, start_new_session=True
        )

    def ends(self, code: int = 0, timeout_s: float = 120) -> dict[str, Any]:
        """The figures; `printed` has what went to stdout."""
        try:
            self.printed, complained = self.process.communicate(timeout=limit(timeout_s))
        finally:
            if self.process.poll() is None:
                os.killpg(self.process.pid, signal.SIGKILL)
        assert self.process.returncode == code, self.printed + complained
        return json.loads(self.out.read_text())
