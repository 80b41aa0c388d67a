"""The processes that the boards run in, and what they say."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Sequence
from multiprocessing.connection import wait
from typing import Any

from tidegate.errors import TidegateError
from tidegate.simulate import worker
from tidegate.simulate.figures import Figures, total
from tidegate.simulate.worker import Task

_LEAVE_S = 5


class Crew:
    """Use it in a `with` statement, at the end of which no process is left."""

    def __init__(self, tasks: Sequence[Task]) -> None:
        # Not forked: threads of HTTP clients may hold locks at this moment.
        context = multiprocessing.get_context("spawn")
        self._processes, self._pipes = [], []
        for task in tasks:
            mine, theirs = context.Pipe()
            process = context.Process(target=worker.main, args=(theirs, task), daemon=True)
            process.start()
            theirs.close()
            self._processes.append(process)
            self._pipes.append(mine)
        self._said: list[dict[str, Any]] = [Figures().plain() for _ in tasks]
        self._packs: dict[str, int] = {}
        self._packs_from: set[int] = set()

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *exc: object) -> None:
        self.tell("stop")
        for process in self._processes:
            process.join(_LEAVE_S)
            if process.is_alive():
                process.kill()
                process.join()

    @property
    def pids(self) -> list[int]:
        return [process.pid for process in self._processes if process.pid is not None]

    @property
    def figures(self) -> Figures:
        """The newest figures of all processes, added up."""
        return total(self._said)

    def tell(self, verb: str, *arguments: Any) -> None:
        for pipe in self._pipes:
            try:
                pipe.send((verb, *arguments))
            except OSError:  # it has ended; `listen` says so
                continue

    def set_rate(self, rate: float | None) -> None:
        """Telemetry of all processes together, packs a second."""
        self.tell("rate", (rate or 0.0) / len(self._pipes))

    def listen(self, seconds: float) -> None:
        """Take what they say for so long. TidegateError if one has died."""
        end = time.monotonic() + seconds
        while True:
            left = end - time.monotonic()
            for pipe in wait(self._pipes, max(0.0, left)):
                self._take(self._pipes.index(pipe))  # type: ignore[arg-type]
            if left <= 0:
                return

    def packs(self, patience_s: float = 10) -> dict[str, int]:
        """Packs that the broker has acknowledged, by device."""
        self._packs, self._packs_from = {}, set()
        self.tell("packs")
        end = time.monotonic() + patience_s
        while len(self._packs_from) < len(self._pipes) and time.monotonic() < end:
            self.listen(0.05)
        return self._packs

    def _take(self, number: int) -> None:
        try:
            kind, said = self._pipes[number].recv()
        except (EOFError, OSError) as error:
            self._processes[number].join(1)
            raise TidegateError(
                f"a process of the simulator ended (exit code {self._processes[number].exitcode})",
                "What it said is above; fewer devices, or more --processes, may help",
            ) from error
        if kind == "figures":
            self._said[number] = said
        else:
            self._packs.update(said)
            self._packs_from.add(number)
