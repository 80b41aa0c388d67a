"""Several boards: which ports have one that fits, and one piece of work for each of them, all at once."""

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

AT_ONCE = 16  # boards; a serial line each, and what the host has to do for one is little


@dataclass
class Done:
    """What came of one port: an answer, or what was wrong and what to do about it."""

    port: str
    seconds: float
    answer: Any = None
    error: str = ""
    remedy: str = ""

    @property
    def failed(self) -> bool:
        return bool(self.error)


class Stop:
    """Carries Ctrl-C into the threads: they see it the next time they tell how far they are."""

    def __init__(self) -> None:
        self._asked = threading.Event()

    def ask(self) -> None:
        self._asked.set()

    def check(self) -> None:
        if self._asked.is_set():
            raise KeyboardInterrupt


def find(request: Request) -> tuple[list[str], list[Done]]:
    """(ports on USB whose board fits, what the others are)."""
    here = ports.on_usb()
    if not here:
        raise BoardError("no board found on USB", "Plug one in, or name its port, for example /dev/ttyACM0")

    def look(port: str) -> str:
        with Session(port, request.board.root) as session:
            found = recognise(session, request.board)
            check(found, request.board, request.root)
            session.restart()
        return found.unique_id

    looked = each(here, look)
    return [done.port for done in looked if not done.failed], [done for done in looked if done.failed]


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
        "Put right what is said of it, or name another --board",
    )


def each(
    names: Sequence[str],
    work: Callable[[str], Any],
    ended: Callable[[Done], None] = lambda _: None,
    stop: Stop | None = None,
) -> list[Done]:
    """work(port) for every port at once; `ended` is told of each as it ends, in whatever order.

    Ctrl-C is seen by the caller's thread alone: `stop` carries it to the others, which are waited for.
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
                stop.ask()
            raise
