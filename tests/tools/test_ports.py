"""Ports that tests and tools give to servers: nobody has them, each is given once, and a lost race is run again."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import ports
import pytest

TOOLS = Path(ports.__file__).parent


class Dice:
    """Proposes this port first, then any."""

    def __init__(self, port: int) -> None:
        self._proposed = [port]
        self._chance = ports._CHANCE

    def randrange(self, first: int, last: int) -> int:
        return self._proposed.pop() if self._proposed else self._chance.randrange(first, last)


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.9", "0.0.0.0"])
def test_a_port_that_has_either_kind_on_any_address_is_not_given(
    kind: socket.SocketKind, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = ports.free_port()
    with socket.socket(type=kind) as other:
        other.bind((address, first))
        ports._reserved.pop().close()  # as if another process asked
        monkeypatch.setattr(ports, "_CHANCE", Dice(first))
        assert ports.free_port() != first
    monkeypatch.setattr(ports, "_CHANCE", Dice(first))
    assert ports.free_port() == first, "and once nobody has it, it is"


@pytest.mark.skipif(sys.platform != "linux", reason="a port is reserved on Linux only")
def test_a_port_belongs_to_one_process_until_it_ends() -> None:
    """Also while nothing listens on it, as between two lives of a server."""
    program = "import sys, ports; print(ports.free_port(), flush=True); sys.stdin.read()"
    other = subprocess.Popen(
        [sys.executable, "-c", program], cwd=TOOLS, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdout is not None
    with other:
        theirs = int(other.stdout.readline())
        assert not ports._reserve(theirs)
        other.communicate()
    assert ports._reserve(theirs), "its end gives the port back"
    ports._reserved.pop().close()


def test_who_loses_the_race_gets_another_port() -> None:
    tried: list[int] = []

    def start(port: int) -> str:
        tried.append(port)
        if len(tried) < 3:
            raise ports.PortTaken
        return f"at {port}"

    assert ports.on_free_port(start) == f"at {tried[-1]}"
    assert len(set(tried)) == 3


def test_it_ends_and_other_trouble_is_not_hidden() -> None:
    tried: list[int] = []

    def taken(port: int) -> None:
        tried.append(port)
        raise ports.PortTaken(str(port))

    with pytest.raises(ports.PortTaken):
        ports.on_free_port(taken)
    assert len(tried) == ports.TRIES

    def broken(_port: int) -> None:
        raise RuntimeError("no such program")

    with pytest.raises(RuntimeError):
        ports.on_free_port(broken)


def test_the_words_of_a_program_that_lost() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        done = subprocess.run(
            [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1"], capture_output=True, text=True
        )
    assert ports.says_taken(done.stderr)
    assert not ports.says_taken("address not available")
