"""Starting the CoAP peers of these tests, and the device's code."""

from __future__ import annotations

import contextlib
import errno
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from patience import limit
from ports import PortTaken, on_free_port, says_taken

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
UNIX = ROOT / "build" / "unix" / "micropython"

# How device code is run: the interpreter and its options. Objects are twice as large on a 64-bit host, so the heap is
# that of a 128 KiB board.
GROUNDS = {"cpython": [sys.executable], "unix": [str(UNIX), "-X", "heapsize=256k"]}


def answers(port: int, within_s: float = 0.5) -> bool:
    """Whether a CoAP ping to this port is answered, in so many seconds."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.settimeout(within_s)
        probe.connect(("127.0.0.1", port))
        try:
            probe.send(b"\x40\x00\x12\x34")
            return probe.recv(16) == b"\x70\x00\x12\x34"
        except OSError:
            time.sleep(0.02)
            return False


def device(script: str, *arguments: object, ground: str = "unix") -> list[str]:
    """The command that runs one of this folder's scripts as device code."""
    if ground == "unix" and not UNIX.exists():
        pytest.skip(f"{UNIX} is not built: make -C boards/unix")
    return [*GROUNDS[ground], str(HERE / script), *map(str, arguments)]


class Serving(NamedTuple):
    port: int
    process: subprocess.Popen


@contextlib.contextmanager
def serving(command: list[str], output: Path) -> Iterator[Serving]:
    """Runs a CoAP server until the end, once it answers pings; its output is kept in a file.

    command: with {port} where the port stands, which is one that the server could take.
    """
    found = on_free_port(lambda port: _started([word.replace("{port}", str(port)) for word in command], port, output))
    try:
        yield found
    finally:
        found.process.kill()
        found.process.wait()


def _started(command: list[str], port: int, output: Path) -> Serving:
    with output.open("w") as file:
        server = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, cwd=ROOT)
    try:
        deadline = time.monotonic() + limit(30)
        while not answers(port):
            if server.poll() is not None and taken(output.read_text()):
                raise PortTaken(output.read_text())
            assert server.poll() is None and time.monotonic() < deadline, output.read_text()
        return Serving(port, server)
    except BaseException:
        server.kill()
        server.wait()
        raise


def taken(said: str) -> bool:
    """Whether a server's output says that its port is in use; MicroPython says the number alone."""
    return says_taken(said) or f"[Errno {errno.EADDRINUSE}]" in said or f"OSError: {errno.EADDRINUSE}" in said


Serve = Callable[..., int]
AtOnce = Callable[[pytest.Function, Callable[[str], None]], None]
