"""TLS in front of a server that has none: takes connections, does the handshakes, passes bytes on and back.

waitress, which serves HTTP, knows no TLS (docs/decisions/0015-https.md). This runs in the same process; what it passes
to is a Unix socket that nobody else can open. A peer that stalls, in the handshake or after, holds one connection of a
bounded number, and no thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
import threading
from pathlib import Path

from ota_server.tls_context import HANDSHAKE_TIMEOUT_S

log = logging.getLogger("tidegate.tls")

MAX_CONNECTIONS = 500
PIECE = 16 * 1024  # bytes; the largest TLS record
START_TIMEOUT_S = 10
STOP_TIMEOUT_S = 5


class TlsFront:
    """Listens on host:port with TLS and passes connections on to the Unix socket `to`."""

    def __init__(self, host: str, port: int, context: ssl.SSLContext, to: Path) -> None:
        self._host = host
        self._port = port
        self._context = context
        self._to = to
        self._open = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._started = threading.Event()
        self._error: OSError | None = None
        self._thread = threading.Thread(target=self._run, name="tls", daemon=True)
        self.address: tuple[str, int] = (host, port)

    def start(self) -> tuple[str, int]:
        """Listen; returns the real (host, port). Raises OSError when the address cannot be used."""
        self._thread.start()
        if not self._started.wait(START_TIMEOUT_S):
            raise OSError("TLS did not start in time")
        if self._error is not None:
            raise self._error
        return self.address

    def stop(self) -> None:
        if self._loop is not None and self._stop is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(STOP_TIMEOUT_S)

    def _run(self) -> None:
        asyncio.run(self._main())

    async def _main(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        self._loop.set_exception_handler(_note)
        try:
            server = await asyncio.start_server(
                self._serve,
                self._host,
                self._port,
                limit=PIECE,
                ssl=self._context,
                ssl_handshake_timeout=HANDSHAKE_TIMEOUT_S,
                ssl_shutdown_timeout=1,
            )
        except OSError as error:
            self._error = error
            self._started.set()
            return
        self.address = server.sockets[0].getsockname()[:2]
        self._started.set()
        await self._stop.wait()
        server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection. It is over when either side has ended: HTTP needs no half of one."""
        if self._open >= MAX_CONNECTIONS:
            log.warning("refused a connection: %d are open", MAX_CONNECTIONS)
            writer.transport.abort()
            return
        self._open += 1
        inner: asyncio.StreamWriter | None = None
        try:
            back, inner = await asyncio.open_unix_connection(str(self._to), limit=PIECE)
            there = asyncio.create_task(_pass(reader, inner))
            here = asyncio.create_task(_pass(back, writer))
            await asyncio.wait([there, here], return_when=asyncio.FIRST_COMPLETED)
            there.cancel()
            here.cancel()
            await asyncio.gather(there, here, return_exceptions=True)
        except OSError as error:
            log.warning("a connection could not be passed on: %s", error)
        finally:
            self._open -= 1
            for end in (inner, writer):
                if end is not None:
                    end.close()
            with contextlib.suppress(OSError, TimeoutError):
                await asyncio.wait_for(writer.wait_closed(), STOP_TIMEOUT_S)


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):  # a lost connection is its end
        while data := await reader.read(PIECE):
            writer.write(data)
            await writer.drain()


def _note(_loop: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
    """Failed handshakes are the peer's business, not a traceback."""
    log.info("%s: %s", context.get("message"), context.get("exception"))
