"""The same work in several threads, and patience with the locks that they hold."""

from __future__ import annotations

import threading
from collections.abc import Callable

from sqlalchemy.exc import OperationalError


def together(count: int, work: Callable[[int], None]) -> None:
    errors: list[Exception] = []

    def run(number: int) -> None:
        try:
            work(number)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(n,)) for n in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


def patiently(work: Callable[[], object]) -> None:
    """SQLite gives up on a lock that others hold in turn; servers try again, too."""
    while True:
        try:
            work()
            return
        except OperationalError as error:
            if "locked" not in str(error):
                raise
