"""Where the lab finds things, its error, and its child processes: those of `tidegate dev`, with more patience."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from patience import limit

from tidegate.dev import processes
from tidegate.dev.processes import kill, start

ROOT = Path(__file__).resolve().parent.parent.parent
BIN = ROOT / ".venv" / "bin"
MICROPYTHON = Path(os.environ.get("TIDEGATE_UNIX_MICROPYTHON", ROOT / "build" / "unix" / "micropython"))

__all__ = ["BIN", "MICROPYTHON", "ROOT", "LabError", "kill", "start", "stop"]


class LabError(Exception):
    """A step of the lab did not go as it must; the text says which and what was seen."""


def stop(process: subprocess.Popen[bytes] | None) -> None:
    processes.stop(process, limit(processes.STOP_TIMEOUT_S))
