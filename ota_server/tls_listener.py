"""Listening with TLS: what a connection may take before its handshake is done, when nobody knows yet whose it is.

asyncio's own server begins each handshake as it accepts, with 300 KiB for each, and tells nobody before the handshake
is over. Here a connection is counted by its address from the first moment. It costs one open file until its whole
ClientHello is there (the kernel says when), and only then takes one of the places for handshakes, of which an address
has a share. Where an address has too many, the one that waits longest makes room.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
from collections import Counter
from collections.abc import Awaitable, Callable

from ota_server.peer_key import peer_key
from ota_server.tls_context import HANDSHAKE_TIMEOUT_S

log = logging.getLogger("tidegate.tls")

MAX_WAITING = 1000  # connections without a whole handshake
MAX_WAITING_OF_ADDRESS = 250  # a site's boards behind one address, all coming back
AT_ONCE = 300  # handshakes that have begun; each takes 300 KiB
AT_ONCE_OF_ADDRESS = 100  # a small board computes for seconds, and a site has many of them
BACKLOG = 512
_RECORD_HEADER = 5  # bytes: type, version, length (RFC 8446, 5.1)
_HANDSHAKE = 22
_MAX_RECORD = 16384
_ACCEPT_PAUSE_S = 1  # when there are no files left

Connected = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class TlsListener:
    """Listens on host:port; calls `connected` with the streams of each connection whose handshake is done."""

    def __init__(
        self, host: str, port: int, context: ssl.SSLContext, connected: Connected, limit: int, shutdown_s: float = 1
    ) -> None:
        """limit: bytes that a stream reads ahead. shutdown_s: how long a peer may take to end TLS in order."""
        self._host, self._port = host, port
        self._context = context
        self._connected = connected
        self._limit = limit
        self._shutdown_s = shutdown_s
        self._waiting: dict[asyncio.Task[None], str] = {}  # with their addresses, oldest first
        self._of: Counter[str] = Counter()
        self._places = asyncio.Semaphore(AT_ONCE)
        self._places_of: dict[str, asyncio.Semaphore] = {}
        self._accepting: list[asyncio.Task[None]] = []
        self.sockets: list[socket.socket] = []

    async def start(self) -> None:
        """Listen from now on. Raises OSError when the address cannot be used."""
        loop = asyncio.get_running_loop()
        flags = socket.AI_PASSIVE
        found = await loop.getaddrinfo(self._host or None, self._port, type=socket.SOCK_STREAM, flags=flags)
        try:
            for family, _, _, _, address in dict.fromkeys(found):
                port = self.sockets[0].getsockname()[1] if self.sockets else address[1]
                self.sockets.append(_listening(family, (address[0], port, *address[2:])))
        except OSError:
            self.close()
            raise
        self._accepting = [asyncio.create_task(self._accept(one)) for one in self.sockets]

    def close(self) -> None:
        """Accept no more, and end what has not finished its handshake; connections that have stay."""
        for task in (*self._accepting, *self._waiting):
            task.cancel()
        for one in self.sockets:
            one.close()

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                accepted, address = await loop.sock_accept(listening)
            except OSError as error:
                log.warning("no connection can be taken: %s", error.strerror)
                await asyncio.sleep(_ACCEPT_PAUSE_S)
                continue
            accepted.setblocking(False)
            self._admit(accepted, peer_key(str(address[0])))

    def _admit(self, accepted: socket.socket, key: str) -> None:
        task = asyncio.create_task(self._shake_hands(accepted, key))
        self._waiting[task] = key
        self._of[key] += 1
        task.add_done_callback(self._gone)
        if self._of[key] > MAX_WAITING_OF_ADDRESS:
            self._make_room(key)
        elif len(self._waiting) > MAX_WAITING:
            self._make_room(self._of.most_common(1)[0][0])

    def _make_room(self, key: str) -> None:
        oldest = next((task for task, other in self._waiting.items() if other == key and not task.cancelling()), None)
        if oldest is not None:
            oldest.cancel()

    def _gone(self, task: asyncio.Task[None]) -> None:
        key = self._waiting.pop(task)
        self._of[key] -= 1
        if not self._of[key]:
            del self._of[key]
            self._places_of.pop(key, None)

    async def _shake_hands(self, accepted: socket.socket, key: str) -> None:
        """One connection, until its handshake is done."""
        loop = asyncio.get_running_loop()
        taken = False
        try:
            async with asyncio.timeout(HANDSHAKE_TIMEOUT_S):
                if not await _hello(accepted):
                    return
            own = self._places_of.setdefault(key, asyncio.Semaphore(AT_ONCE_OF_ADDRESS))
            async with own, self._places:
                reader = asyncio.StreamReader(limit=self._limit)
                protocol = asyncio.StreamReaderProtocol(reader, self._connected)
                taken = True  # the transport closes it now, whatever happens
                await loop.connect_accepted_socket(
                    lambda: protocol,
                    accepted,
                    ssl=self._context,
                    ssl_handshake_timeout=HANDSHAKE_TIMEOUT_S,
                    ssl_shutdown_timeout=self._shutdown_s,
                )
        except (OSError, TimeoutError) as error:  # the peer's business; ssl.SSLError is an OSError
            log.info("%s: no handshake: %s", key, error or "too slow")
        finally:
            if not taken:
                accepted.close()


async def _hello(accepted: socket.socket) -> bool:
    """Whether a whole first record of a handshake has come. It stays where it is, unread.

    The kernel calls the socket readable once it has as many bytes as we want (SO_RCVLOWAT), or its end.
    """
    header = await _peek(accepted, _RECORD_HEADER)
    if len(header) < _RECORD_HEADER or header[0] != _HANDSHAKE:
        return False
    size = int.from_bytes(header[3:], "big")
    if not 0 < size <= _MAX_RECORD:
        return False
    whole = await _peek(accepted, _RECORD_HEADER + size)
    accepted.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
    return len(whole) == _RECORD_HEADER + size


async def _peek(accepted: socket.socket, size: int) -> bytes:
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    accepted.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, size)
    loop.add_reader(accepted, readable.set)
    try:
        await readable.wait()
    finally:
        loop.remove_reader(accepted)
    with contextlib.suppress(BlockingIOError):
        return accepted.recv(size, socket.MSG_PEEK)
    return b""


def _listening(family: int, address: tuple[object, ...]) -> socket.socket:
    one = socket.socket(family, socket.SOCK_STREAM)
    try:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        one.bind(address)
        one.listen(BACKLOG)
        one.setblocking(False)
    except OSError:
        one.close()
        raise
    return one
