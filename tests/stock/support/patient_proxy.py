"""A reverse proxy before the server, as installations have one: it takes a request at whatever pace it comes, asks the
server once it is whole, and hands the answer on at the pace at which it is taken. A board whose second takes a minute
here would be too slow for the server's own limits, which are for a network's.
"""

from __future__ import annotations

import contextlib
import socket
import threading

_END = b"\r\n\r\n"
_PIECE = 65536


class PatientProxy:
    """Listens at `port` of the loopback, in front of the server at `server`; a context manager. Requests have no body
    and are the only ones of their connections, as the board makes them.
    """

    def __init__(self, server: int):
        self._server = server
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> PatientProxy:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # closed: the end
            while True:
                threading.Thread(target=self._serve, args=(self._listener.accept()[0],), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            asked = b""
            while _END not in asked:
                piece = client.recv(_PIECE)
                if not piece:
                    return
                asked += piece
            with socket.create_connection(("127.0.0.1", self._server)) as server:
                server.sendall(asked)
                answer = b""
                while piece := server.recv(_PIECE):
                    answer += piece
            client.sendall(answer)
            client.shutdown(socket.SHUT_WR)
            while client.recv(_PIECE):  # until the board, too, has closed
                pass
