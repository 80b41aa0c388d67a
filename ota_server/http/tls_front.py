"""TLS in front of a server that has none: takes connections, does the handshakes, passes bytes on and back.

waitress, which serves HTTP, knows no TLS (docs/decisions/0015-https.md). This runs in the same process; it passes
to a Unix socket that no other user can open, with a first line that says whose connection it is. A peer that stalls, in
the handshake or after, holds one connection of a bounded number, and no thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import select
import socket
import ssl
from pathlib import Path

from ota_server.http.guard import LINGER_S
from ota_server.loop_thread import LoopThread
from ota_server.tls_listener import TlsListener

log = logging.getLogger("tidegate.tls")

MAX_CONNECTIONS = 1200  # above the guard's bound, which chooses what to close
PIECE = 16 * 1024  # bytes; the largest TLS record
STOP_TIMEOUT_S = 5


class TlsFront:
    """Listens on host:port with TLS and passes connections on to the Unix socket `to`."""

    def __init__(self, host: str, port: int, context: ssl.SSLContext, to: Path) -> None:
        self._host = host
        self._port = port
        self._context = context
        self._to = to
        self._open = 0
        self._thread = LoopThread("tls", self._main)
        self.address: tuple[str, int] = (host, port)

    def start(self) -> tuple[str, int]:
        """Listen; returns the real (host, port). Raises OSError when the address cannot be used."""
        self._thread.start()
        return self.address

    def stop(self) -> None:
        """Stop listening and end every connection."""
        self._thread.stop(STOP_TIMEOUT_S)

    async def _main(self, thread: LoopThread) -> None:
        asyncio.get_running_loop().set_exception_handler(_note)
        server = TlsListener(self._host, self._port, self._context, self._serve, PIECE)
        await server.start()
        self.address = server.sockets[0].getsockname()[:2]
        thread.ready()
        await thread.stopping.wait()
        server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection. It is over when either side has ended; only a server that still listens goes on doing so."""
        if self._open >= MAX_CONNECTIONS:
            log.warning("refused a connection: %d are open", MAX_CONNECTIONS)
            writer.transport.abort()
            return
        self._open += 1
        inner: asyncio.StreamWriter | None = None
        upload: socket.socket | None = None
        try:
            back, inner = await asyncio.open_unix_connection(str(self._to), limit=PIECE)
            # Requests go through a duplicate: a write that fails must not discard an answer that was not read yet.
            upload = inner.get_extra_info("socket").dup()
            upload.setblocking(False)
            peer = writer.get_extra_info("peername") or ("?", 0)
            await asyncio.get_running_loop().sock_sendall(upload, f"{peer[0]} {peer[1]}\n".encode())
            there = asyncio.create_task(_send(reader, upload))
            here = asyncio.create_task(_pass(back, writer))
            await asyncio.wait([there, here], return_when=asyncio.FIRST_COMPLETED)
            if not here.done() and not there.result():  # the server ended in the middle of a request: it has answered
                await asyncio.wait([here], timeout=STOP_TIMEOUT_S)
            elif not there.done() and _is_half_closed(upload):
                # It has refused the request and drops the rest. To close with bytes unread would reset the connection,
                # and take from the client what it has not received of the answer.
                await asyncio.wait([there], timeout=LINGER_S)
            there.cancel()
            here.cancel()
            await asyncio.gather(there, here, return_exceptions=True)
        except OSError as error:
            log.warning("a connection could not be passed on: %s", error)
        finally:
            self._open -= 1
            for end in (inner, upload, writer):
                if end is not None:
                    end.close()
            with contextlib.suppress(OSError, TimeoutError):
                await asyncio.wait_for(writer.wait_closed(), STOP_TIMEOUT_S)


async def _send(reader: asyncio.StreamReader, to: socket.socket) -> bool:
    """Pass on what the client sends; returns whether it ended with the client, not with the server."""
    loop = asyncio.get_running_loop()
    while True:
        try:
            data = await reader.read(PIECE)
        except OSError:
            return True  # a lost connection is its end
        if not data:
            return True
        try:
            await loop.sock_sendall(to, data)
        except OSError:
            return False


def _is_half_closed(server: socket.socket) -> bool:
    """Whether a server that sends no more still reads: the kernel says of a closed one that both ways are."""
    looked = select.poll()
    looked.register(server, 0)
    return not looked.poll(0)


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):  # a lost connection is its end
        while data := await reader.read(PIECE):
            writer.write(data)
            await writer.drain()


def _note(_loop: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
    """Failed handshakes are the peer's business, not a traceback."""
    log.info("%s: %s", context.get("message"), context.get("exception"))
