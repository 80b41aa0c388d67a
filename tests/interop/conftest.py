"""Fixtures for tests of the device's libraries against peers that others wrote."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
UNIX = ROOT / "build" / "unix" / "micropython"
sys.path.insert(0, str(HERE))

# How device code is run: the interpreter and its options. Objects are twice as large on a 64-bit host, so the heap is
# that of a 128 KiB board.
GROUNDS = {"cpython": [sys.executable], "unix": [str(UNIX), "-X", "heapsize=256k"]}


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def answers(port: int) -> bool:
    """Whether a CoAP ping to this port is answered, in half a second."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.settimeout(0.5)
        probe.connect(("127.0.0.1", port))
        try:
            probe.send(b"\x40\x00\x12\x34")
            return probe.recv(16) == b"\x70\x00\x12\x34"
        except OSError:
            time.sleep(0.05)
            return False


def device(script: str, *arguments: object, ground: str = "unix") -> list[str]:
    """The command that runs one of this folder's scripts as device code."""
    if ground == "unix" and not UNIX.exists():
        pytest.skip(f"{UNIX} is not built: make -C boards/unix")
    return [*GROUNDS[ground], str(HERE / script), *map(str, arguments)]


def program(name: str) -> str:
    path = shutil.which(name)
    if not path:
        pytest.skip(f"{name} is not installed: apt-get install libcoap3-bin")
    return path


@contextlib.contextmanager
def serving(command: list[str], port: int, output: Path) -> Iterator[subprocess.Popen]:
    """Runs a CoAP server until the end, once it answers pings; its output is kept in a file."""
    with output.open("w") as file:
        server = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, cwd=ROOT)
        try:
            deadline = time.monotonic() + 30
            while not answers(port):
                assert server.poll() is None and time.monotonic() < deadline, output.read_text()
            yield server
        finally:
            server.kill()
            server.wait()


Serve = Callable[..., int]


@pytest.fixture(scope="module")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    """serve(command): the port of a server that the command, with {port} in it, starts; it ends with the module."""
    with contextlib.ExitStack() as stack:

        def start(command: list[str]) -> int:
            port = free_port()
            words = [word.replace("{port}", str(port)) for word in command]
            stack.enter_context(serving(words, port, tmp_path_factory.mktemp("server") / "output"))
            return port

        yield start


AtOnce = Callable[[pytest.Function, Callable[[str], None]], None]


@pytest.fixture(scope="module")
def at_once(request: pytest.FixtureRequest) -> Iterator[AtOnce]:
    """at_once(request.node, run): run(case) for the case of the test that asks, raising what it raised.

    All selected cases of that test were begun with the first: they wait for timers more than they compute. So what
    they share must bear it.
    """
    begun: dict[str, dict[str, Future[None]]] = {}

    with ThreadPoolExecutor(6) as pool:

        def result(item: pytest.Function, run: Callable[[str], None]) -> None:
            if item.originalname not in begun:
                same = [
                    other
                    for other in request.session.items
                    if isinstance(other, pytest.Function)
                    and (other.path, other.originalname) == (item.path, item.originalname)
                ]
                cases = [other.callspec.params["case"] for other in same]
                begun[item.originalname] = {case: pool.submit(run, case) for case in cases}
            begun[item.originalname][item.callspec.params["case"]].result()

        yield result
        pool.shutdown(cancel_futures=True)
