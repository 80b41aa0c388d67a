"""Child processes that never outlive us."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tidegate import interrupts

STOP_TIMEOUT_S = 10
PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


def start(command: Sequence[str | Path], log: Path, **options: Any) -> subprocess.Popen[bytes]:
    """A daemon in a process group of its own, so that Ctrl-C at the terminal reaches only us and we end it in order.

    What it prints is appended to `log`. On Linux it is killed when the thread that started it ends.
    """
    process: subprocess.Popen[bytes] | None = None
    try:
        with log.open("ab") as file, interrupts.held():
            process = subprocess.Popen(
                [str(word) for word in command],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_die_with_parent(),
                **options,
            )
    except KeyboardInterrupt:
        stop(process)
        raise
    return process


def stop(process: subprocess.Popen[bytes] | None, timeout_s: float = STOP_TIMEOUT_S) -> None:
    """End a daemon in order; one that does not end in `timeout_s`, and all it started, by force."""
    if process is None or process.poll() is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
        try:
            process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            kill(process)


def kill(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL to a daemon and all that it started, at whatever they are doing."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _die_with_parent() -> Callable[[], None]:
    try:
        prctl = ctypes.CDLL(None).prctl  # looked up here: the child must not load libraries
    except AttributeError:  # not Linux
        return lambda: None

    def before_exec() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)

    return before_exec
