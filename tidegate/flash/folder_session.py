"""A Linux gateway in a folder, for flashing: what flashing uses of serial_session.Session, without a serial line.

The folder is laid out like a board's file system. What runs "on the board" is run by the gateway's own MicroPython with
the folder as its root, one process a call. While the gateway itself runs in the folder (boards/unix/gateway holds the
lock), flashing is refused.
"""

from __future__ import annotations

import ast
import fcntl
import hashlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from tidegate.files import is_full, write_atomic
from tidegate.flash.serial_session import ON_BOARD, BoardError, Progress

PREFIX = "unix:"
LOCK = ".lock"  # boards/unix/gateway takes it, too
LEAVING_S = 2.0  # a gateway that was just killed takes a moment to be gone
HEAP = "4m"
ID_SIZE = 6  # boards/unix/board.py
MAX_IMAGE = 64 * 1024 * 1024  # bytes read of a file here, so that a wrong path does not fill the memory


class FolderSession:
    """The gateway in a folder; use it as a context manager. program: its MicroPython; start: boards/unix/start.py."""

    def __init__(self, port: str, program: Path, start: Path):
        self.port = port
        self._start = start
        self._root = Path(port.removeprefix(PREFIX)).absolute()
        self._program = program
        self._lock: IO[bytes] | None = None

    def __enter__(self) -> FolderSession:
        if not (self._program.is_file() and os.access(self._program, os.X_OK)):
            raise BoardError(
                f"there is no {self._program}",
                "Build it: make -C boards/unix; or name another one with TIDEGATE_UNIX_MICROPYTHON",
            )
        try:
            self._root.mkdir(parents=True, exist_ok=True)
            self._lock = (self._root / LOCK).open("ab")
        except OSError as error:
            raise BoardError(f"cannot use {self._root}: {error.strerror}", "Name a folder you may write") from error
        until = time.monotonic() + LEAVING_S
        while not _is_locked(self._lock):
            if time.monotonic() > until:
                self._lock.close()
                raise BoardError(f"the gateway in {self._root} is running", "Stop it, then flash it")
            time.sleep(0.05)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._lock:
            self._lock.close()

    def run(self, code: str, timeout: float = 30) -> str:
        """Run statements in the gateway's MicroPython; returns what they print. An exception there is a BoardError."""
        command = [str(self._program), "-X", f"heapsize={HEAP}", str(self._start)]
        environment = {**os.environ, "TIDEGATE_ROOT": str(self._root), "TIDEGATE_RUN": code or "pass"}
        try:
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, capture_output=True, text=True, env=environment, timeout=timeout
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise BoardError(f"{self._program} did not finish: {error}", "Run the command again") from error
        if done.returncode:
            lines = (done.stderr or done.stdout).strip().splitlines()
            said = lines[-1] if lines else f"nothing, and ended with {done.returncode}"
            full = f"Make room on the disk of {self._root}" if is_full(self._root) else "Run the command again"
            raise BoardError(f"the gateway said: {said}", full)
        return done.stdout

    def value(self, expression: str, timeout: float = 30) -> Any:
        """The value of an expression there; plain Python values only."""
        return self.parse(self.run(f"print(repr({expression}))", timeout))

    def parse(self, answer: str) -> Any:
        """The plain Python value that it printed the repr of."""
        try:
            return ast.literal_eval(answer.strip())
        except (ValueError, SyntaxError) as error:
            raise BoardError(f"could not read what the gateway in {self._root} answered", "Run again") from error

    def identify(self) -> tuple[str, tuple[int, ...], int, str, int]:
        """(machine, MicroPython's version, .mpy version, file system, bytes of free heap), as the gateway says."""
        found: tuple[str, tuple[int, ...], int, str, int]
        found = self.parse(self.run(f"{ON_BOARD}\nprint(repr(_tg_identify('/')))"))
        return found

    def unique_id(self) -> str:
        """The gateway's id in hex; made now if it has never started."""
        path = self._root / "unique_id"
        if not path.exists():
            write_atomic(path, os.urandom(ID_SIZE))
        return path.read_bytes().hex()

    def fresh(self) -> None:
        """Every run is a process of its own."""

    def feed_watchdog(self, timeout_ms: int) -> None:
        """The application's watchdog ended with its process."""

    def at(self, path: str) -> str:
        """A path of the gateway's file system as its programs see it."""
        return path

    def free(self) -> int:
        """Bytes of the file system that are free."""
        return shutil.disk_usage(self._root).free

    def size(self) -> int:
        """Bytes of the whole file system."""
        return shutil.disk_usage(self._root).total

    def list(self, path: str) -> list[str]:
        """The files in a folder and those below it; none where there is no folder."""
        found = sorted(file for file in self._path(path).rglob("*") if file.is_file())
        return ["/" + file.relative_to(self._root).as_posix() for file in found]

    def remove(self, path: str) -> None:
        self._path(path).unlink()

    def drop(self, path: str) -> None:
        """Remove a file or a folder with all that is in it; nothing if there is none."""
        target = self._path(path)
        if target.is_dir():
            shutil.rmtree(target)
        else:
            target.unlink(missing_ok=True)

    def rename(self, path: str, to: str) -> None:
        self._path(path).rename(self._path(to))

    def digest(self, path: str) -> str | None:
        """SHA-256 of a file in hex, or None where there is none."""
        try:
            with self._path(path).open("rb") as file:
                return hashlib.sha256(file.read(MAX_IMAGE)).hexdigest()
        except FileNotFoundError:
            return None

    def digests(self, paths: Iterable[str]) -> dict[str, tuple[str | None, int]]:
        """(SHA-256 in hex, bytes) of each file; (None, 0) where there is none."""
        return {path: (self.digest(path), self._size(path)) for path in paths}

    def read(self, path: str, most: int) -> bytes | None:
        """The first bytes of a file, or None where there is none."""
        try:
            with self._path(path).open("rb") as file:
                return file.read(most)
        except FileNotFoundError:
            return None

    def put(self, path: str, data: bytes, progress: Progress | None = None) -> bool:
        """Make `path` hold `data`, all or nothing of it. False if it held it already."""
        if self.digest(path) == hashlib.sha256(data).hexdigest():
            return False
        target = self._path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(target, data, 0o600)
        if progress:
            progress(len(data), len(data))
        return True

    def interrupt(self) -> None:
        """Nothing of ours outlives a run."""

    def reset(self) -> None:
        """Nothing runs while we hold the lock."""

    def restart(self) -> None:
        """Whoever runs the gateway starts it again."""

    def _size(self, path: str) -> int:
        file = self._path(path)
        return file.stat().st_size if file.is_file() else 0

    def _path(self, path: str) -> Path:
        return self._root / path.lstrip("/")


def _is_locked(file: IO[bytes]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
