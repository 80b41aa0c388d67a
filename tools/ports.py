"""Ports for servers that a test or a tool starts a moment later."""

from __future__ import annotations

import contextlib
import random
import socket
import sys
from collections.abc import Callable
from typing import TypeVar

# Below the ports that systems give to connections that go out (32768 and up): one of those could take it meanwhile.
FIRST, LAST = 15_000, 32_000
TRIES = 10
_CHANCE = random.SystemRandom()  # processes that start together must not ask in the same order
_reserved: list[socket.socket] = []  # open until this process ends

T = TypeVar("T")


class PortTaken(Exception):
    """A program could not listen on the port it was given, because somebody else does."""


def free_port() -> int:
    """A port that nobody on this machine has now, neither for TCP nor for UDP, and that no other call gives away.

    Both kinds, since some servers listen on both. Whoever got it has it until this process ends, so that a server
    may be stopped and started again on it. Programs that do not ask here can still take it: see on_free_port().
    """
    while True:
        port = _CHANCE.randrange(FIRST, LAST)
        if _reserve(port):
            if all(_unused(port, kind) for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM)):
                return port
            _reserved.pop().close()


def on_free_port(start: Callable[[int], T]) -> T:
    """start(port) with a free port, and with another one each time it raises PortTaken, ten times at most."""
    for _ in range(TRIES - 1):
        with contextlib.suppress(PortTaken):
            return start(free_port())
    return start(free_port())


def says_taken(output: str) -> bool:
    """Whether a program that ended said that its port is in use, in the words of the C library."""
    return "address already in use" in output.lower()


def _reserve(port: int) -> bool:
    """Whether the port is ours: a name that the kernel gives to one process at a time, and takes back at its end."""
    name = socket.socket(socket.AF_UNIX)
    try:
        if sys.platform == "linux":  # elsewhere such names are files, which would stay
            name.bind(f"\0tidegate-port-{port}")
    except OSError:
        name.close()
        return False
    _reserved.append(name)
    return True


def _unused(port: int, kind: int) -> bool:
    with socket.socket(type=kind) as probe:
        try:
            probe.bind(("", port))  # on all addresses: a server that listens on one of them is in the way, too
        except OSError:
            return False
        return True
