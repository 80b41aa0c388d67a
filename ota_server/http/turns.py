"""Whose request is answered next: addresses take turns, so that one with many requests does not hold up the others."""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import Any


class Turns:
    """In place of the deque of waitress's threads, which lock it around each call. A task's `key` is its address."""

    def __init__(self) -> None:
        self._waiting: OrderedDict[str, deque[Any]] = OrderedDict()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def append(self, task: Any) -> None:
        self._waiting.setdefault(task.key, deque()).append(task)
        self._count += 1

    def popleft(self) -> Any:
        """The oldest task of the address whose turn it is. Raises IndexError if there is none."""
        if not self._waiting:
            raise IndexError("nothing waits")
        key, tasks = self._waiting.popitem(last=False)
        task = tasks.popleft()
        if tasks:
            self._waiting[key] = tasks
        self._count -= 1
        return task
