"""An index of libraries on loopback, in the form that micropython.org has and mip reads."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Index:
    """answers: path -> bytes, or an address to redirect to; asked: every path that was asked for, in order."""

    def __init__(self, port: int):
        self.url = f"http://127.0.0.1:{port}"
        self.answers: dict[str, bytes | str] = {}
        self.asked: list[str] = []

    def add(
        self, name: str, version: str, files: Mapping[str, str], deps: tuple[tuple[str, str], ...] = (), **more: Any
    ) -> None:
        """A package, which is the latest one now."""
        hashes = []
        for path, text in files.items():
            short = hashlib.sha256(text.encode()).hexdigest()[:8]
            self.answers[f"/file/{short[:2]}/{short}"] = text.encode()
            hashes.append([path, short])
        package = {"v": 1, "version": version, "hashes": hashes, "deps": [list(pair) for pair in deps], **more}
        for known in (version, "latest"):
            self.answers[f"/package/py/{name}/{known}.json"] = json.dumps(package).encode()


@contextmanager
def serve() -> Iterator[Index]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            index.asked.append(self.path)
            found = index.answers.get(self.path)
            if isinstance(found, str):
                self.send_response(302)
                self.send_header("Location", found)
            else:
                self.send_response(404 if found is None else 200)
            body = found if isinstance(found, bytes) else b""
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        index = Index(server.server_port)
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield index
        finally:
            server.shutdown()
            thread.join()
