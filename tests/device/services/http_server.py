"""An HTTP server with Range that is as good or as nasty as the path says."""

from __future__ import annotations

import hashlib
import socket
import time

from tcp_server import Served, exactly

BODY = b"".join(hashlib.sha256(b"%d" % n).digest() for n in range(1250))  # 40,000 bytes
ETAG = '"%s"' % hashlib.sha256(BODY).hexdigest()


class Http:
    """GET with Range over BODY at /p/good; other paths behave as they say."""

    def __init__(self) -> None:
        self.requests: list[str] = []
        self.server = Served(self._serve)

    def _serve(self, peer: socket.socket) -> None:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += exactly(peer, 1)
        lines = head.decode().split("\r\n")
        fields = {name.lower(): value.strip() for name, _, value in (li.partition(":") for li in lines[1:-2])}
        path = lines[0].split()[1]
        self.requests.append(f"{path} {fields.get('range', '-')}")
        start = int(fields["range"].removeprefix("bytes=").rstrip("-")) if "range" in fields else 0
        if fields.get("if-range", ETAG) != ETAG:
            start = 0
        size = len(BODY)
        part = f"HTTP/1.1 206 Partial Content\r\nContent-Length: {size - start}\r\n"
        scene = path.rpartition("/")[2]
        if scene == "good":
            self._good(peer, start)
        elif scene == "cut":  # ends early, after 10,000 bytes
            peer.sendall(self._head(start) + BODY[start : start + 10_000])
        elif scene == "slow-but-fine":
            peer.sendall(self._head(size - 2000))
            for at in range(size - 2000, size, 100):
                time.sleep(0.05)
                peer.sendall(BODY[at : at + 100])
        elif scene == "byte-wise":
            for byte in self._head(size - 20):
                peer.sendall(bytes([byte]))
                time.sleep(0.001)
            peer.sendall(BODY[-20:])
        elif scene == "silent":
            time.sleep(20)
        elif scene == "stall":
            peer.sendall(self._head(start) + BODY[start : start + 1000])
            time.sleep(20)
        elif scene == "trickle":
            peer.sendall(self._head(start))
            for at in range(start, size):
                time.sleep(0.2)
                peer.sendall(BODY[at : at + 1])
        elif scene == "endless-header":
            peer.sendall(b"HTTP/1.1 200 OK\r\n")
            while True:
                peer.sendall(b"X-More: and more\r\n" * 20)
        elif scene == "endless-body":
            peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
            while True:
                peer.sendall(b"x" * 1000)
        elif scene == "ignores-range":
            self._good(peer, 0)
        elif scene in ANSWERS:
            peer.sendall(ANSWERS[scene])
        elif scene == "wrong-start":
            peer.sendall(f"{part}Content-Range: bytes {start + 1}-{size - 1}/{size}\r\n\r\n".encode())
        elif scene == "wrong-end":
            peer.sendall(f"{part}Content-Range: bytes {start}-{size}/{size}\r\n\r\n".encode())
        elif scene == "wrong-length":
            peer.sendall(f"{part}Content-Range: bytes {start}-{size}/{size + 1}\r\n\r\n".encode())
        elif scene == "no-span":
            peer.sendall(f"{part}\r\n".encode())
        elif scene == "star-span":
            peer.sendall(f"{part}Content-Range: bytes {start}-{size - 1}/*\r\n\r\n".encode())
        elif scene == "two-spans":
            spans = f"Content-Range: bytes {start}-{size - 1}/{size}\r\nContent-Range: bytes 0-1/2\r\n"
            peer.sendall(f"{part}{spans}\r\n".encode())
        else:
            peer.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")

    def _head(self, start: int) -> bytes:
        size = len(BODY)
        common = f"Content-Length: {size - start}\r\nETag: {ETAG}\r\nServer: peers\r\n"
        if start:
            span = f"Content-Range: bytes {start}-{size - 1}/{size}\r\n"
            return f"HTTP/1.1 206 Partial Content\r\n{span}{common}\r\n".encode()
        return f"HTTP/1.1 200 OK\r\n{common}\r\n".encode()

    def _good(self, peer: socket.socket, start: int) -> None:
        if start >= len(BODY):
            answer = "HTTP/1.1 416 Range Not Satisfiable\r\nContent-Length: 0\r\n"
            peer.sendall(f"{answer}Content-Range: bytes */{len(BODY)}\r\n\r\n".encode())
        else:
            peer.sendall(self._head(start) + BODY[start:])


ANSWERS = {
    "no-length": b"HTTP/1.1 200 OK\r\n\r\n" + BODY,
    "bad-length": b"HTTP/1.1 200 OK\r\nContent-Length: 12x\r\n\r\n" + BODY,
    "negative-length": b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n" + BODY,
    "huge-length": b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n",
    "large": b"HTTP/1.1 200 OK\r\nContent-Length: 900000\r\n\r\n" + BODY,
    "two-lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\nContent-Length: 11\r\n\r\n" + BODY,
    "chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "gzip": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Encoding: gzip\r\n\r\nhello",
    "surplus": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello, world",
    "moved": b"HTTP/1.1 302 Found\r\nLocation: /p/good\r\nContent-Length: 0\r\n\r\n",
    "failed": b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n",
    "not-http": b"SSH-2.0-OpenSSH_9.2\r\n\r\n\r\n",
    "bad-status": b"HTTP/1.1 OK 200\r\n\r\n",
    "bad-field": b"HTTP/1.1 200 OK\r\nContent-Length : 5\r\n\r\nhello",
    "folded": b"HTTP/1.1 200 OK\r\nX-A: 1\r\n  Content-Length: 5\r\n\r\nhello",
    "no-colon": b"HTTP/1.1 200 OK\r\nContent-Length\r\n\r\n",
    "eof": b"",
    "eof-header": b"HTTP/1.1 200 OK\r\nContent-Le",
    "empty": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    "other-total": b"HTTP/1.1 416 Range Not Satisfiable\r\nContent-Range: bytes */7\r\n\r\n",
}
