"""An asyncio event loop in a thread of its own, started and stopped from ordinary threads."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

log = logging.getLogger("tidegate.loop")

START_TIMEOUT_S = 10
T = TypeVar("T")


class LoopThread:
    """Runs `main(self)` in an event loop.

    main calls `ready()` once it serves, then awaits `stopping` and cleans up. What it raises before `ready()`, `start`
    raises in the caller's thread; what it raises later is logged.
    """

    def __init__(self, name: str, main: Callable[[LoopThread], Coroutine[Any, Any, None]]) -> None:
        self._name = name
        self._main = main
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ready = threading.Event()
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self.stopping = asyncio.Event()

    def start(self) -> None:
        """Start the thread; returns when main is ready. Raises what main raised, or OSError after 10 s."""
        self._thread.start()
        if not self._ready.wait(START_TIMEOUT_S):
            raise OSError(f"{self._name} did not start in {START_TIMEOUT_S} s")
        if self._error is not None:
            raise self._error

    def ready(self) -> None:
        """Called by main: it serves now."""
        self._ready.set()

    def stop(self, timeout_s: float) -> None:
        """Set `stopping` and wait for the thread; harmless if it has ended, or never started."""
        if self.call_soon(self.stopping.set):
            self._thread.join(timeout_s)

    def call_soon(self, function: Callable[[], object]) -> bool:
        """Call `function` in the loop; returns False if no loop runs."""
        if self._loop is None or not self._thread.is_alive():
            return False
        try:
            self._loop.call_soon_threadsafe(function)
        except RuntimeError:  # the loop was closed in between
            return False
        return True

    def run(self, work: Callable[[], Awaitable[T]], timeout_s: float) -> T | None:
        """Await `work()` in the loop and return its result, None if no loop runs. Raises TimeoutError."""
        if self._loop is None or not self._thread.is_alive():
            return None
        return asyncio.run_coroutine_threadsafe(_awaited(work), self._loop).result(timeout_s)

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except Exception as error:
            if self._ready.is_set():
                log.exception("%s has ended", self._name)
            self._error = error
        finally:
            self._ready.set()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        await self._main(self)


async def _awaited(work: Callable[[], Awaitable[T]]) -> T:
    return await work()
