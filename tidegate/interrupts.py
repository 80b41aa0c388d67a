"""Ctrl-C where Python makes something else of it: before anything was begun, which is half of the time that a short
command takes, since modules are loaded then; and while a process is forked.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

INTERRUPTED = 130  # exit code
# Not every system has them all.
_ENDING = [signal.Signals[name] for name in ("SIGINT", "SIGTERM", "SIGHUP") if name in signal.Signals.__members__]


def end_at_once() -> None:
    """Until `begun`, Ctrl-C ends the process with one line; a KeyboardInterrupt in an import is a page of trace."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else whoever started us wants it ignored
        signal.signal(signal.SIGINT, _end)


def begun() -> None:
    """From now on something may have to be ended in order: Ctrl-C is a KeyboardInterrupt again."""
    if signal.getsignal(signal.SIGINT) is _end:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@contextmanager
def held() -> Iterator[None]:
    """What would end us waits for the end of this block, with which a process is started.

    Modules have hooks that are called around a fork, and Python drops an exception in one: Ctrl-C would be lost.
    """
    if threading.current_thread() is not threading.main_thread():  # which is where signals are handled
        yield
        return
    came: list[tuple[int, FrameType | None]] = []
    before: dict[signal.Signals, Any] = {}
    for number in _ENDING:
        handler = signal.getsignal(number)
        if callable(handler):  # else it is ignored, which a child inherits, or ends us at once
            before[number] = handler
            signal.signal(number, lambda *given: came.append(given))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for given in came[:1]:
            before[signal.Signals(given[0])](*given)


def _end(_number: int, _frame: FrameType | None) -> None:
    os.write(2, b"Interrupted\n")
    os._exit(INTERRUPTED)
