"""HTTP for the application: waitress, with TLS in front of it if there is a certificate."""

from __future__ import annotations

import ssl
import tempfile
from pathlib import Path
from typing import Any

import waitress
from waitress.server import BaseWSGIServer, MultiSocketServer

from ota_server.http.tls_front import TlsFront

THREADS = 8
CONNECTIONS = 100
IDLE_S = 60
BODY_SPARE = 64 * 1024


class HttpServer:
    """Serves `app` on host:port. context: for TLS. Raises OSError when the address cannot be used."""

    def __init__(self, app: Any, host: str, port: int, max_body: int, context: ssl.SSLContext | None = None) -> None:
        self._front: TlsFront | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        if context is None:
            self._web = _listen(app, max_body, "http", host=host, port=port)
            several = isinstance(self._web, MultiSocketServer)
            real = self._web.effective_listen[0][1] if several else self._web.effective_port
            self.scheme, self.address = "http", (host, int(real))
            return
        # Not in the data folder: the name of a Unix socket has room for a hundred characters.
        self._folder = tempfile.TemporaryDirectory(prefix="tidegate-")
        inner = Path(self._folder.name) / "http"
        self._web = _listen(app, max_body, "https", unix_socket=str(inner), unix_socket_perms="600")
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


def _listen(app: Any, max_body: int, scheme: str, **where: Any) -> BaseWSGIServer | MultiSocketServer:
    return waitress.create_server(
        app,
        threads=THREADS,
        connection_limit=CONNECTIONS,
        channel_timeout=IDLE_S,
        max_request_body_size=max_body + BODY_SPARE,
        # Bodies stay in memory: a temporary file could meet a full disk before we can answer that.
        inbuf_overflow=max_body + BODY_SPARE,
        ident="tidegate",
        clear_untrusted_proxy_headers=True,
        url_scheme=scheme,
        **where,
    )
