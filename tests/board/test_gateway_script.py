"""boards/unix/gateway, which keeps a Linux gateway running."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from pathlib import Path

import programs
from gone import wait_until_gone
from patience import until

SCRIPT = Path(__file__).resolve().parents[2] / "boards" / "unix" / "gateway"


def test_micropython_ends_with_a_script_that_is_killed(tmp_path: Path) -> None:
    programs.require("setpriv")
    stand_in = tmp_path / "micropython"
    stand_in.write_text(f'#!/bin/sh\necho $$ > "{tmp_path}/pid"\nexec sleep 600\n')
    stand_in.chmod(0o755)
    (tmp_path / "board").mkdir()
    (tmp_path / "board" / "main.py").touch()
    env = {**os.environ, "TIDEGATE_UNIX_MICROPYTHON": str(stand_in)}
    gateway = subprocess.Popen([str(SCRIPT), str(tmp_path / "board")], env=env, start_new_session=True)
    try:
        pid = until("its process", lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text().strip())
        gateway.kill()
        gateway.wait()
        wait_until_gone(int(pid))
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(gateway.pid, signal.SIGKILL)
