"""A board on a serial port, through mpremote's transport.

All use of mpremote's Python interface is here (docs/decisions/0003-mpremote-as-transport.md). A `Session` holds a
board's raw REPL: the board's own main.py does not run meanwhile, so a session never counts as a failed boot.
"""

from __future__ import annotations

import ast
import contextlib
import hashlib
import struct
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Any

from mpremote import transport_serial
from mpremote.transport import TransportError
from mpremote.transport_serial import SerialTransport

from tidegate.errors import TidegateError
from tidegate.flash.ports import resolve

ON_BOARD = Path(__file__).with_name("on_board.py").read_text()
CHUNK = 2048  # bytes of a file that a REPL command carries: 10 KB of heap while the board takes them
WINDOW_BITS = 11  # of deflate, for a whole chunk: _tg_inflate on the board has the same
FLUSH = 8 * CHUNK  # bytes of a file after which what has arrived is flushed: a rerun continues from there
# Without a timeout mpremote waits for a dead board for ever; with one shorter than a busy board's pause it takes the
# missing answer to raw-paste mode for a refusal.
READ_TIMEOUT_S = 5.0
QUIET_S = 0.5  # silence after which a board that was interrupted has finished printing
STOP_S = 2.0  # longest wait for that silence
ENTER_S = 4.0  # for each step into the raw REPL, at the first attempt
WRITE_TIMEOUT_S = 10.0  # a serial line that accepts nothing any more
# What mpremote and pyserial raise when the line is cut or delivers garbage.
_LINE_ERRORS = (TransportError, OSError, struct.error)
Progress = Callable[[int, int], None]

# mpremote prints what it does not understand: silence it, since our errors say it better and several boards share one
# terminal.
vars(transport_serial)["print"] = lambda *_words, **_options: None


# These bytes mean something to the raw REPL, or end a literal there.
_ESCAPES = {byte: b"\\x%02x" % byte for byte in range(6)} | {10: b"\\n", 13: b"\\r", 39: b"\\'", 92: b"\\\\"}
_BYTES = [_ESCAPES.get(byte, bytes((byte,))) for byte in range(256)]


def literal(data: bytes) -> bytes:
    """Bytes as MicroPython source: most stand for themselves, so it is a twelfth longer than random data."""
    return b"b'" + b"".join([_BYTES[byte] for byte in data]) + b"'"


def source_of(piece: bytes, inflates: bool) -> bytes:
    """What a board computes `piece` from, in as few bytes as the line needs. inflates: whether it has deflate."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -WINDOW_BITS)
    packed = packer.compress(piece) + packer.flush()
    return b"_tg_inflate(" + literal(packed) + b")" if inflates and len(packed) < len(piece) else literal(piece)


class BoardError(TidegateError):
    """The board or its serial line failed."""


class Session:
    """The raw REPL of the board at `port`; use it as a context manager. root: where the board mounts its file system.

    Paths are those of the board's own file system, wherever it is mounted. After an error the board runs again what it
    ran before.
    """

    def __init__(self, port: str, root: str = "/"):
        self.port = resolve(port)
        self._root = root.rstrip("/")
        self._transport: SerialTransport | None = None
        self._watchdog_ms = 0
        self._inflates: bool | None = None  # whether the board's MicroPython has deflate

    def __enter__(self) -> Session:
        try:
            self._transport = SerialTransport(self.port, timeout=READ_TIMEOUT_S)
            self._transport.serial.write_timeout = WRITE_TIMEOUT_S
            self.fresh()
        except BaseException as error:
            self._abandon()
            if isinstance(error, _LINE_ERRORS):
                raise BoardError(
                    f"no MicroPython answers at {self.port}: {error}",
                    "Check the cable and that no other program has the port open; press the board's reset",
                ) from error
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            with contextlib.suppress(*_LINE_ERRORS):
                if self._transport and self._transport.in_raw_repl:
                    self._transport.exit_raw_repl()
            self._close()
        else:
            self._abandon()

    def fresh(self) -> None:
        """Start over: a soft reset, nothing imported, nothing of the application running."""
        transport = self._open()
        answers = self._stop()
        try:
            transport.enter_raw_repl(timeout_overall=ENTER_S)
        except TransportError:
            # It was starting, and a Ctrl-C that comes before MicroPython runs is lost; or in the middle of something.
            if not (self._stop() or answers):
                raise
            transport.enter_raw_repl()
        self.run(ON_BOARD, feed=False)
        self.feed_watchdog(self._watchdog_ms)

    def _stop(self) -> bool:
        """Get to the friendly prompt, from whatever the board is doing; whether anything answers.

        mpremote sends Ctrl-C and at once Ctrl-A; an application that takes a moment to end swallows the latter.
        """
        transport = self._open()
        transport.serial.timeout = QUIET_S
        transport.serial.write(b"\r\x03\x02")
        output = transport.read_until(1, b">>> ", timeout=QUIET_S, timeout_overall=STOP_S)
        transport.serial.timeout = READ_TIMEOUT_S
        return bool(output)

    def feed_watchdog(self, timeout_ms: int) -> None:
        """Feed the watchdog from now on: on most boards it cannot be stopped once the application has started it."""
        if timeout_ms:
            self.run(f"_tg_dog = __import__('machine').WDT(timeout={timeout_ms})\n_tg_feed = _tg_dog.feed", feed=False)
            self._watchdog_ms = timeout_ms

    def run(self, code: str | bytes, timeout: float = 30, feed: bool = True) -> str:
        """Run statements on the board and return what they print. An exception there is a BoardError here."""
        transport = self._open()
        try:
            code = code.encode() if isinstance(code, str) else code
            code = b"_tg_feed()\n" + code if feed and self._watchdog_ms else code
            output, trace = transport.exec_raw(code, timeout=timeout)
        except _LINE_ERRORS as error:
            raise BoardError(
                f"lost the board at {self.port}: {error}", "Check the cable and run the command again"
            ) from error
        if trace:
            lines = trace.decode(errors="replace").strip().splitlines()
            last = lines[-1] if lines else "nothing"
            if last.startswith("OSError: 28") or "ENOSPC" in last:
                raise BoardError("the board's file system is full", "Remove files with `mpremote rm`, or flash --wipe")
            raise BoardError(f"the board said: {last}", "Run the command again")
        return str(output.decode(errors="replace"))

    def value(self, expression: str, timeout: float = 30) -> Any:
        """The value of an expression on the board; plain Python values only."""
        return self.parse(self.run(f"print(repr({expression}))", timeout))

    def parse(self, answer: str) -> Any:
        """The plain Python value that the board printed the repr of."""
        try:
            return ast.literal_eval(answer.strip())
        except (ValueError, SyntaxError) as error:
            raise BoardError(f"could not read what the board at {self.port} answered", "Run again") from error

    # -------------------------------------------------------------- the board and its files

    def at(self, path: str) -> str:
        """A path of the board's file system as programs on the board see it."""
        return self._root + path

    def identify(self) -> tuple[str, tuple[int, ...], int, str, int]:
        """(machine, MicroPython's version, .mpy version, file system, bytes of free heap), as the board says."""
        found: tuple[str, tuple[int, ...], int, str, int] = self.value(f"_tg_identify({self._root or '/'!r})")
        return found

    def unique_id(self) -> str:
        """The board's id in hex."""
        return str(self.value("binascii.hexlify(__import__('machine').unique_id()).decode()"))

    def free(self) -> int:
        """Bytes of the file system that are free."""
        return int(self.value(f"(lambda s: s[0] * s[3])(os.statvfs({self.at('/')!r}))"))

    def size(self) -> int:
        """Bytes of the whole file system."""
        return int(self.value(f"(lambda s: s[1] * s[2])(os.statvfs({self.at('/')!r}))"))

    def list(self, path: str) -> list[str]:
        """The files in a folder and those below it; none where there is no folder."""
        return [str(name)[len(self._root) :] for name in self.value(f"_tg_list({self.at(path)!r})")]

    def remove(self, path: str) -> None:
        self.run(f"os.remove({self.at(path)!r})")

    def drop(self, path: str) -> None:
        """Remove a file or a folder with all that is in it; nothing if there is none."""
        self.run(f"_tg_drop({self.at(path)!r})")

    def rename(self, path: str, to: str) -> None:
        self.run(f"os.rename({self.at(path)!r}, {self.at(to)!r})")

    def digest(self, path: str) -> str | None:
        """SHA-256 of a file on the board in hex, or None where there is none."""
        return self.value(f"_tg_digest({self.at(path)!r})")

    def digests(self, paths: Iterable[str]) -> dict[str, tuple[str | None, int]]:
        """(SHA-256 in hex, bytes) of each file; (None, 0) where there is none."""
        return {path: self.value(f"_tg_look({self.at(path)!r})") for path in paths}

    def read(self, path: str, most: int) -> bytes | None:
        """The first bytes of a file, or None where there is none."""
        found: bytes | None = self.value(f"_tg_read({self.at(path)!r}, {most})")
        return found

    def put(self, path: str, data: bytes, progress: Progress | None = None) -> bool:
        """Make `path` hold `data`: write it beside, read it back, rename it over `path`. False if it held it already.

        A cable pulled at any moment leaves the old file or the new one, and what has arrived beside it: the next call
        with the same data continues from there.
        """
        expected = hashlib.sha256(data).hexdigest()
        if self.digest(path) == expected:
            return False
        for folder in reversed(PurePosixPath(path).parents[:-1]):
            self.run(f"_tg_folder({self.at(str(folder))!r})")
        beside = path + ".new"
        start = self._arrived(beside, data)
        if self._inflates is None:
            self._inflates = bool(self.value("_tg_has('deflate')"))
        self.run(f"_tg_file = open({self.at(beside)!r}, '{'ab' if start else 'wb'}')")
        for at in range(start, len(data), CHUNK):
            flush = b"\n_tg_file.flush()" if (at + CHUNK) % FLUSH == 0 else b""
            self.run(b"_tg_file.write(" + source_of(data[at : at + CHUNK], self._inflates) + b")" + flush)
            if progress:
                progress(min(at + CHUNK, len(data)), len(data))
        self.run("_tg_file.close()")
        if self.digest(beside) != expected:
            self.remove(beside)
            raise BoardError(f"{path} did not arrive whole at {self.port}", "Check the cable and run again")
        self.rename(beside, path)
        return True

    def _arrived(self, beside: str, data: bytes) -> int:
        """How many bytes of `data` an earlier session has written, in whole chunks."""
        digest, size = self.value(f"_tg_look({self.at(beside)!r})")
        if size % CHUNK == 0 and size < len(data) and digest == hashlib.sha256(data[:size]).hexdigest():
            return int(size)
        return 0

    # -------------------------------------------------------------- the end

    def interrupt(self) -> None:
        """Stop the program on the board, after Ctrl-C on the host. Names stay defined."""
        self._open().enter_raw_repl(soft_reset=False)

    def reset(self) -> None:
        """Hard reset; the session is over."""
        if self._transport is not None:
            with contextlib.suppress(*_LINE_ERRORS):
                self._transport.exec_raw_no_follow("import machine\nmachine.reset()")
        self._close()

    def restart(self) -> None:
        """The board runs again what it ran before; the session is over."""
        self._abandon()

    def _open(self) -> SerialTransport:
        if self._transport is None:
            raise BoardError(f"the session with {self.port} is over", "Open a new one")
        return self._transport

    def _abandon(self) -> None:
        """Let the board run what it ran before, as far as a line that may be cut allows."""
        if self._transport is not None:
            with contextlib.suppress(*_LINE_ERRORS):
                # Stop the program and leave the raw REPL. A soft reset suffices for a board that may not be ours; one
                # whose watchdog we have fed needs a hard reset.
                end = b"import machine; machine.reset()\r" if self._watchdog_ms else b"\x04"
                self._transport.serial.write(b"\r\x03\x03\r\x02" + end)
                if not self._watchdog_ms:  # wait for it: the next session must not start half-way
                    self._transport.serial.timeout = QUIET_S
                    self._transport.read_until(1, b"soft reboot\r\n", timeout=QUIET_S, timeout_overall=STOP_S)
        self._close()

    def _close(self) -> None:
        if self._transport is not None:
            with contextlib.suppress(*_LINE_ERRORS):
                self._transport.close()
            self._transport = None
