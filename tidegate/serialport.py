"""A board on a serial port, through mpremote's transport.

All use of mpremote's Python interface is here (docs/decisions/0003-mpremote-as-transport.md). A `Session` holds a
board's raw REPL: the board's own main.py does not run meanwhile, so a session never counts as a failed boot.
"""

from __future__ import annotations

import ast
import binascii
import contextlib
import hashlib
import io
import re
from collections.abc import Callable
from pathlib import PurePosixPath
from types import TracebackType
from typing import Any

import serial
import serial.tools.list_ports
from mpremote.transport import TransportError
from mpremote.transport_serial import SerialTransport

from tidegate.errors import TidegateError

CHUNK = 1024  # bytes a REPL command carries; twice that as text, well within a small board's heap
# Without one mpremote would wait for a dead board for ever; shorter than a busy board's pause, and mpremote takes the
# missing answer to raw-paste mode for a refusal.
READ_TIMEOUT_S = 5.0
Progress = Callable[[int, int], None]

# The board's half: names begin with _tg so that they cannot meet anything else.
_BOARD_SIDE = """
import os, sys, hashlib, binascii
def _tg_digest(path):
    try:
        f = open(path, 'rb')
    except OSError:
        return None
    h = hashlib.sha256()
    b = bytearray(512)
    m = memoryview(b)
    while True:
        n = f.readinto(b)
        if not n:
            break
        h.update(m[:n])
    f.close()
    return binascii.hexlify(h.digest()).decode()
def _tg_list(path):
    found = []
    try:
        entries = list(os.ilistdir(path))
    except OSError:
        return found
    for entry in entries:
        inner = path + '/' + entry[0]
        found += _tg_list(inner) if entry[1] & 0x4000 else [inner]
    return found
def _tg_folder(path):
    try:
        os.mkdir(path)
    except OSError as e:
        if e.errno != 17:
            raise
"""


class BoardError(TidegateError):
    """The board or its serial line did not do as asked."""


def resolve(name: str) -> str:
    """A device name as mpremote takes it (auto, a0, u1, c3, id:SERIAL, port:PATH or a path) as a path or URL."""
    shortcut = re.fullmatch(r"([auc])(\d+)", name)
    if shortcut:
        return {"a": "/dev/ttyACM", "u": "/dev/ttyUSB", "c": "COM"}[shortcut[1]] + shortcut[2]
    ports = sorted(serial.tools.list_ports.comports())
    if name == "auto":
        for port in ports:
            if port.vid is not None and port.pid is not None:
                return port.device
        raise BoardError("no board found on USB", "Plug one in, or name its port, for example /dev/ttyACM0")
    if name.startswith("id:"):
        for port in ports:
            if port.serial_number == name[3:]:
                return port.device
        raise BoardError(f"no board with serial number {name[3:]}", "`mpremote connect list` shows what is there")
    return name.removeprefix("port:")


class Session:
    """The raw REPL of the board at `port`; use it as a context manager."""

    def __init__(self, port: str):
        self.port = resolve(port)
        self._transport: SerialTransport | None = None

    def __enter__(self) -> Session:
        try:
            self._transport = SerialTransport(self.port, timeout=READ_TIMEOUT_S)
            self._connect()
            self.run(_BOARD_SIDE)
        except BaseException as error:
            self._close()
            if isinstance(error, (TransportError, OSError)):
                raise BoardError(
                    f"no MicroPython answers at {self.port}: {error}",
                    "Check the cable and that no other program has the port open; press the board's reset",
                ) from error
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(TransportError, OSError):
            if self._transport and self._transport.in_raw_repl:
                self._transport.exit_raw_repl()
        self._close()

    def run(self, code: str, timeout: float = 30) -> str:
        """Run statements on the board; what they print. An exception there is a BoardError here."""
        if self._transport is None:
            raise BoardError(f"the session with {self.port} is over", "Open a new one")
        try:
            output, trace = self._transport.exec_raw(code, timeout=timeout)
        except (TransportError, OSError) as error:
            raise BoardError(
                f"lost the board at {self.port}: {error}", "Check the cable and run the command again"
            ) from error
        if trace:
            lines = trace.decode(errors="replace").strip().splitlines()
            raise BoardError(f"the board said: {lines[-1] if lines else 'nothing'}", "Run the command again")
        return output.decode(errors="replace")

    def value(self, expression: str, timeout: float = 30) -> Any:
        """The value of an expression on the board; plain Python values only."""
        return self.parse(self.run(f"print(repr({expression}))", timeout))

    def parse(self, answer: str) -> Any:
        """The plain Python value that the board printed the repr of."""
        try:
            return ast.literal_eval(answer.strip())
        except (ValueError, SyntaxError) as error:
            raise BoardError(f"could not read what the board at {self.port} answered", "Run again") from error

    def unique_id(self) -> str:
        """The board's id in hex."""
        return str(self.value("binascii.hexlify(__import__('machine').unique_id()).decode()"))

    def list(self, path: str) -> list[str]:
        """The files in a folder and those below it; none where there is no folder."""
        return [str(name) for name in self.value(f"_tg_list({path!r})")]

    def remove(self, path: str) -> None:
        self.run(f"os.remove({path!r})")

    def digest(self, path: str) -> str | None:
        """SHA-256 of a file on the board in hex, or None where there is none."""
        return self.value(f"_tg_digest({path!r})")

    def put(self, path: str, data: bytes, progress: Progress | None = None) -> bool:
        """Make `path` hold `data`: written beside it, read back, then renamed over it. False if it held it already.

        A cable pulled at any moment leaves the old file or the new one.
        """
        wanted = hashlib.sha256(data).hexdigest()
        if self.digest(path) == wanted:
            return False
        for folder in reversed(PurePosixPath(path).parents[:-1]):
            self.run(f"_tg_folder({str(folder)!r})")
        beside = path + ".new"
        self.run(f"_tg_file = open({beside!r}, 'wb')")
        self.stream(data, "_tg_file.write", progress)
        self.run("_tg_file.close()")
        if self.digest(beside) != wanted:
            raise BoardError(f"{path} did not arrive whole at {self.port}", "Check the cable and run again")
        self.run(f"os.rename({beside!r}, {path!r})")
        return True

    def stream(self, data: bytes, sink: str, progress: Progress | None = None) -> None:
        """Call the board's function `sink` (an expression) with `data`, piece by piece."""
        for start in range(0, len(data), CHUNK):
            piece = binascii.b2a_base64(data[start : start + CHUNK], newline=False).decode()
            self.run(f"{sink}(binascii.a2b_base64('{piece}'))")
            if progress:
                progress(min(start + CHUNK, len(data)), len(data))

    def reset(self) -> None:
        """Hard reset; the session is over."""
        if self._transport is not None:
            with contextlib.suppress(TransportError, OSError):
                self._transport.exec_raw_no_follow("import machine\nmachine.reset()")
        self._close()

    def _connect(self) -> None:
        transport = self._transport
        if transport is None:
            raise BoardError("no session", "Open one first")
        said = io.StringIO()  # mpremote prints what it does not understand; our error says it better
        with contextlib.redirect_stdout(said):
            try:
                transport.enter_raw_repl()
            except TransportError:
                transport.serial.write(b"\r\x02")  # leave a half-entered raw REPL, then once more
                transport.enter_raw_repl()

    def _close(self) -> None:
        if self._transport is not None:
            with contextlib.suppress(TransportError, OSError):
                self._transport.close()
            self._transport = None
