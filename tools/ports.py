"""Ports for servers that a test or a tool starts a moment later."""

from __future__ import annotations

import random
import socket

# Below the ports that systems give to connections that go out (32768 and up): one of those could take it meanwhile.
FIRST, LAST = 15_000, 32_000
_CHANCE = random.SystemRandom()  # processes that start together must not ask in the same order


def free_port(kind: int = socket.SOCK_STREAM) -> int:
    """A port of the loopback that nobody listens on now; kind: SOCK_STREAM for TCP, SOCK_DGRAM for UDP."""
    while True:
        port = _CHANCE.randrange(FIRST, LAST)
        with socket.socket(type=kind) as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
