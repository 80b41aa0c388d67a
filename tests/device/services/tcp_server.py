"""A TCP server in a thread, for peers that a few lines describe."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import threading
from collections.abc import Callable

from patience import limit


class Served(socketserver.ThreadingTCPServer):
    """A TCP server in a thread; handle(socket) serves one connection."""

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 32

    def __init__(self, handle: Callable[[socket.socket], None]):
        serve = handle

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                with contextlib.suppress(OSError, EOFError, UnicodeError):
                    self.request.settimeout(limit(30))
                    serve(self.request)

        super().__init__(("127.0.0.1", 0), Handler)
        self.port = self.server_address[1]
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self.shutdown()
        self.server_close()


def exactly(peer: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = peer.recv(size - len(data))
        if not part:
            raise EOFError
        data += part
    return data
