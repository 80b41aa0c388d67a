"""Ctrl-C while a process is forked."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

# A hook of fork in which the signal comes: where Python drops what a handler raises.
PROGRAM = """
import os, signal, sys, time
from pathlib import Path
from tidegate.dev import processes

number = int(sys.argv[1])
signal.signal(number, signal.default_int_handler)
os.register_at_fork(before=lambda: (os.kill(os.getpid(), number), [None for _ in range(1000)]))
try:
    processes.start(["sleep", "60"], Path(sys.argv[2]))
except KeyboardInterrupt:
    print("interrupted", flush=True)
print(signal.getsignal(number) is signal.default_int_handler)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_it_is_not_lost(tmp_path: Path, number: signal.Signals) -> None:
    command = [sys.executable, "-c", PROGRAM, str(int(number)), str(tmp_path / "log")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr, done.returncode) == ("interrupted\nTrue\n", "", 0)


def test_what_is_ignored_stays_ignored(tmp_path: Path) -> None:
    """By the child as well, as `nohup` wants it."""
    program = f"""
import signal, sys
from pathlib import Path
from tidegate.dev import processes

signal.signal(signal.SIGINT, signal.SIG_IGN)
code = "import signal; print(signal.getsignal(signal.SIGINT) is signal.SIG_IGN)"
processes.start([sys.executable, "-c", code], Path({str(tmp_path / "log")!r})).wait()
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
    assert (tmp_path / "log").read_text() == "True\n"
