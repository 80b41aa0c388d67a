"""A serial port that comes and goes: opened again whenever it is there, read and written without holding up others.

pyserial blocks, and asyncio cannot wait for a serial port on every system, so each port has two threads.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable

import serial

from tidegate.flash.ports import resolve

OPEN_AGAIN_S = 1.0
READ_S = 0.2
WRITE_S = 5.0  # a board that takes nothing any more
WAITING = 64  # frames that wait to be written; what is beyond is sent again anyway


class Port:
    """take(data), opened(), lost(why): called from a thread. lost() also says why it cannot be opened yet, once."""

    def __init__(
        self, name: str, take: Callable[[bytes], None], opened: Callable[[], None], lost: Callable[[str], None]
    ):
        self.name = name
        self._take = take
        self._opened = opened
        self._lost = lost
        self._stop = threading.Event()
        self._waiting: queue.Queue[bytes] = queue.Queue(WAITING)
        self._thread = threading.Thread(target=self._run, name=f"link {name}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Closes the port and returns when it is closed."""
        self._stop.set()
        self._thread.join()

    def write(self, data: bytes) -> None:
        """Returns at once; what there is no room for is lost, as on a bad line."""
        with contextlib.suppress(queue.Full):
            self._waiting.put_nowait(data)

    def _run(self) -> None:
        said = ""
        while not self._stop.is_set():
            try:
                # An id may come back at another name; a port that another program holds is not shared.
                with serial.Serial(
                    resolve(self.name), 115200, timeout=READ_S, write_timeout=WRITE_S, exclusive=True
                ) as line:
                    said = ""
                    self._opened()
                    self._serve(line)
            except Exception as error:  # whatever a driver raises, the port may come back
                if str(error) != said:
                    said = str(error)
                    self._lost(said)
                self._stop.wait(OPEN_AGAIN_S)

    def _serve(self, line: serial.Serial) -> None:
        ended = threading.Event()
        with contextlib.suppress(queue.Empty):
            while True:  # for a board that is not there any more
                self._waiting.get_nowait()
        writer = threading.Thread(target=self._write, args=(line, ended), daemon=True)
        writer.start()
        try:
            while not self._stop.is_set() and not ended.is_set():
                data = line.read(1)
                if data:
                    self._take(data + line.read(line.in_waiting))
        finally:
            ended.set()
            writer.join()

    def _write(self, line: serial.Serial, ended: threading.Event) -> None:
        try:
            while not ended.is_set():
                with contextlib.suppress(queue.Empty):
                    line.write(self._waiting.get(timeout=READ_S))
        except Exception:  # reading finds out what it is
            ended.set()
