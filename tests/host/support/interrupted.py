"""`tidegate` with Ctrl-C at each of its steps in turn: what it opens, writes, renames, removes, sends and receives.

The signal comes before the step, in the process itself, so no run depends on how fast the machine is.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from patience import limit
from projects import ROOT

INTERRUPTED = 130
_RUN_S = 60
# The steps are counted from `interrupts.begun` on; before it Ctrl-C ends the process at once
# (test_ctrl_c_while_it_starts_is_one_line in tests/host/cli/test_project_cli.py).
_PROGRAM = """
import os, signal, sys

from tidegate import interrupts

STEPS = {"open", "write", "flush", "fsync", "rename", "replace", "unlink", "remove", "mkdir", "rmdir", "link",
         "truncate", "fork_exec", "connect", "send", "sendall", "recv"}
place, sent, count, last = int(sys.argv[1]), sys.argv[2], 0, None

def step(frame, event, called):
    global count, last
    if event != "c_call" or called.__name__ not in STEPS or isinstance(called.__self__, (str, list)):
        return  # str.replace, list.remove
    found = called.__name__, frame.f_code, frame.f_back and frame.f_back.f_code
    if found != last:  # a hundred files that are read in a loop are one step
        last = found
        count += 1
        if count == place:
            open(sent, "x").close()
            os.kill(os.getpid(), signal.SIGINT)

begun = interrupts.begun

def begin():
    begun()
    sys.setprofile(step)

interrupts.begun = begin
sys.argv[1:] = sys.argv[3:]
from tidegate.__main__ import main
try:
    main()
finally:
    sys.setprofile(None)  # what follows is the end of Python itself
"""


def run(place: int, words: list[str | Path], folder: Path, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Its outcome, with Ctrl-C before step number `place`, from 1; never if it has fewer. Fails if Ctrl-C was lost."""
    with tempfile.TemporaryDirectory() as scratch:
        sent = Path(scratch) / "sent"
        command = [sys.executable, "-c", _PROGRAM, str(place), str(sent), *map(str, words)]
        env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", **env}
        done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=limit(_RUN_S))
        assert sent.exists() == (done.returncode == INTERRUPTED), (place, done.stdout, done.stderr)
    return done


def sweep(
    words: list[str | Path], folder: Path, restore: Callable[[], None], stride: int, env: dict[str, str] | None = None
) -> Iterator[int]:
    """Runs it with Ctrl-C at its first step, and at each `stride`th after it, each time from what restore() leaves;
    gives the number of the step once one line and the exit code have said so, until a run comes to its end.
    """
    place = 1
    while True:
        restore()
        done = run(place, words, folder, env or {})
        if done.returncode == 0:
            return
        assert done.returncode == INTERRUPTED, (place, done.stdout, done.stderr)
        assert done.stderr.endswith("Interrupted\n") and "Traceback" not in done.stderr, (place, done.stderr)
        yield place
        place += stride
