"""Several boards at once: finds the ports whose board fits, and runs one piece of work for each."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from tidegate.errors import TidegateError
from tidegate.flash import ports
from tidegate.flash.identify import check, recognise
from tidegate.flash.request import Request
from tidegate.flash.serial_session import BoardError, Session

AT_ONCE = 16  # boards; each has a serial line of its own, and the host does little for one


@dataclass
class Done:
    """The outcome for one port: an answer, or an error and its remedy."""

    port: str
    seconds: float
    answer: Any = None
    error: str = ""
    remedy: str = ""

    @property
    def failed(self) -> bool:
        return bool(self.error)


class Stop:
    """Carries Ctrl-C into the threads, which check it whenever they report progress."""

    def __init__(self) -> None:
        self._stopped = threading.Event()

    def set(self) -> None:
        self._stopped.set()

    def check(self) -> None:
        if self._stopped.is_set():
            raise KeyboardInterrupt


def find(request: Request) -> tuple[list[str], list[Done]]:
    """(ports on USB whose board fits, why the others do not)."""
    here = ports.on_usb()
    if not here:
        raise BoardError("no board found on USB", "Plug one in, or name its port, for example /dev/ttyACM0")

    def look(port: str) -> str:
        with Session(port, request.board.root) as session:
            found = recognise(session)
            check(found, request.board, request.sources)
            session.restart()
        return found.unique_id

    found = each(here, look)
    return [done.port for done in found if not done.failed], [done for done in found if done.failed]


def the_only(request: Request) -> str:
    """The port of the one board on USB that fits; TidegateError names what else there is."""
    fitting, others = find(request)
    if len(fitting) == 1:
        return fitting[0]
    name = request.board.name
    if fitting:
        raise BoardError(
            f"{len(fitting)} boards fit {name}: {', '.join(fitting)}", "Name the one you mean, or flash them with --all"
        )
    raise BoardError(
        f"no board on USB is a {name} that can be flashed: " + "; ".join(done.error for done in others),
        "Correct that, or name another --board",
    )


def each(
    names: Sequence[str],
    work: Callable[[str], Any],
    ended: Callable[[Done], None] = lambda _: None,
    stop: Stop | None = None,
) -> list[Done]:
    """work(port) for every port at once; calls `ended` as each ends, in whatever order.

    Only the caller's thread gets Ctrl-C: `stop` carries it to the others, and this waits for them.
    """

    def one(port: str) -> Done:
        began = time.monotonic()
        done = Done(port, 0)
        try:
            done.answer = work(port)
        except TidegateError as error:
            done.error, done.remedy = error.message, error.remedy
        except KeyboardInterrupt:  # from Stop
            done.error, done.remedy = "stopped", "Run the command again"
        done.seconds = round(time.monotonic() - began, 1)
        ended(done)
        return done

    with ThreadPoolExecutor(min(AT_ONCE, len(names) or 1)) as pool:
        begun = [pool.submit(one, port) for port in names]
        try:
            return [future.result() for future in begun]
        except KeyboardInterrupt:
            if stop:
                stop.set()
            raise
