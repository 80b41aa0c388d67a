"""HTTP for the application: waitress with our guard, and TLS in front of it if there is a certificate."""

from __future__ import annotations

import functools
import ssl
import tempfile
from pathlib import Path
from typing import Any

import waitress
from waitress.server import BaseWSGIServer, MultiSocketServer

from ota_server.http.guard import MAX_CONNECTIONS, Guard, Holder
from ota_server.http.tls_front import TlsFront
from ota_server.http.turns import Turns

THREADS = 8
IDLE_S = 60
BODY_SPARE = 64 * 1024
MAX_HEADER = 32 * 1024


class HttpServer:
    """Serves `app` on host:port. Raises OSError when the address cannot be used."""

    def __init__(
        self,
        app: Any,
        host: str,
        port: int,
        max_body: int,
        context: ssl.SSLContext | None = None,
        holder: Holder = lambda _token: None,
        trusted_proxy: str | None = None,
    ) -> None:
        """context: for TLS. holder: whose a token is, so that its body may be read.

        trusted_proxy: the address whose X-Forwarded-For and X-Forwarded-Proto are believed.
        """
        guard = Guard(holder, trusted_proxy)
        listen = functools.partial(_listen, app, max_body, guard, trusted_proxy)
        self._front: TlsFront | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        if context is None:
            self._web = listen("http", host=host, port=port)
            several = isinstance(self._web, MultiSocketServer)
            real = self._web.effective_listen[0][1] if several else self._web.effective_port
            self.scheme, self.address = "http", (host, int(real))
            return
        # Not in the data folder: the name of a Unix socket has room for a hundred characters.
        self._folder = tempfile.TemporaryDirectory(prefix="tidegate-")
        inner = Path(self._folder.name) / "http"
        self._web = listen("https", unix_socket=str(inner), unix_socket_perms="600")
        self._front = TlsFront(host, port, context, inner)
        try:
            self.scheme, self.address = "https", (host, self._front.start()[1])
        except OSError:
            self.close()
            raise

    def run(self) -> None:
        """Serve until SIGTERM or Ctrl-C."""
        self._web.run()

    def close(self) -> None:
        if self._front is not None:
            self._front.stop()
        self._web.close()
        if self._folder is not None:
            self._folder.cleanup()


def _listen(
    app: Any, max_body: int, guard: Guard, trusted_proxy: str | None, scheme: str, **where: Any
) -> BaseWSGIServer | MultiSocketServer:
    believed = {} if trusted_proxy is None else {
        "trusted_proxy": trusted_proxy,
        "trusted_proxy_headers": {"x-forwarded-for", "x-forwarded-proto"},
    }  # fmt: skip
    servers: dict[int, Any] = {}
    turns = Turns()
    web = waitress.create_server(
        app,
        map=servers,
        threads=THREADS,
        connection_limit=4 * MAX_CONNECTIONS,  # the guard's own bound is below and never stops accepting
        channel_timeout=IDLE_S,
        cleanup_interval=1,
        asyncore_use_poll=True,
        max_request_header_size=MAX_HEADER,
        max_request_body_size=max_body + BODY_SPARE,
        # Bodies stay in memory: a temporary file could meet a full disk before we can answer that.
        inbuf_overflow=max_body + BODY_SPARE,
        ident="tidegate",
        clear_untrusted_proxy_headers=True,
        url_scheme=scheme,
        **believed,
        **where,
    )
    for server in list(servers.values()):
        if isinstance(server, BaseWSGIServer):
            guard.watch(server)
            server.task_dispatcher.queue = turns  # of all of them: they share their threads
    return web
