"""Ctrl-C before anything was begun, which is half of the time that a short command takes: modules are loaded then."""

from __future__ import annotations

import os
import signal
from types import FrameType

INTERRUPTED = 130  # exit code


def end_at_once() -> None:
    """Until `begun`, Ctrl-C ends the process with one line; a KeyboardInterrupt in an import is a page of trace."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else whoever started us wants it ignored
        signal.signal(signal.SIGINT, _end)


def begun() -> None:
    """From now on something may have to be ended in order: Ctrl-C is a KeyboardInterrupt again."""
    if signal.getsignal(signal.SIGINT) is _end:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _end(_number: int, _frame: FrameType | None) -> None:
    os.write(2, b"Interrupted\n")
    os._exit(INTERRUPTED)
