"""Starting the CoAP peers of these tests, and the device's code."""

from __future__ import annotations

import contextlib
import functools
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from patience import limit
from ports import free_port as free_port_of

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
UNIX = ROOT / "build" / "unix" / "micropython"

# How device code is run: the interpreter and its options. Objects are twice as large on a 64-bit host, so the heap is
# that of a 128 KiB board.
GROUNDS = {"cpython": [sys.executable], "unix": [str(UNIX), "-X", "heapsize=256k"]}
free_port = functools.partial(free_port_of, socket.SOCK_DGRAM)


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


@contextlib.contextmanager
def serving(command: list[str], port: int, output: Path) -> Iterator[subprocess.Popen]:
    """Runs a CoAP server until the end, once it answers pings; its output is kept in a file."""
    with output.open("w") as file:
        server = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, cwd=ROOT)
        try:
            deadline = time.monotonic() + limit(30)
            while not answers(port):
                assert server.poll() is None and time.monotonic() < deadline, output.read_text()
            yield server
        finally:
            server.kill()
            server.wait()


Serve = Callable[..., int]
AtOnce = Callable[[pytest.Function, Callable[[str], None]], None]
