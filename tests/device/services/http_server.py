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
        scene = path.split("?")[0].rpartition("/")[2]
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
        elif scene == "in-parts":  # as RFC 9110 section 15.3.7 allows
            end = min(start + 9_000, size)
            span = f"Content-Range: bytes {start}-{end - 1}/{size}\r\nContent-Length: {end - start}\r\n\r\n"
            peer.sendall(f"HTTP/1.1 206 Partial Content\r\n{span}".encode() + BODY[start:end])
        elif scene == "through-proxies":  # everything that may lie in front of a server, in one answer
            hints = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\nContent-Length: 7\r\n\r\nHTTP/1.1 100 \r\n\r\n"
            more = b"".join(b"X-Cache-%d: HIT from somewhere\r\n" % number for number in range(150))
            more += b"Set-Cookie: " + b"c" * 3000 + b'\r\nVia: 1.1 a,\r\n\t1.1 b\r\nAge:0\r\nETag: W/"1"\r\n'
            span = f"CONTENT-RANGE: Bytes  {start}-{size - 1}/{size}\r\nRetry-After: 5\r\n".encode()
            lengths = (
                f"content-LENGTH:   {size - start} , {size - start}\t\r\nContent-Encoding: Identity\r\n\r\n".encode()
            )
            status = b"HTTP/1.0 206\r\n" + span if start else b"HTTP/1.0 200 Connection established\r\n"
            peer.sendall(hints + status + more + lengths + BODY[start:])
        elif scene == "in-chunks":
            status = b"HTTP/1.1 200 OK\r\n"
            if start:
                status = f"HTTP/1.1 206 Partial\r\nContent-Range: bytes {start}-{size - 1}/{size}\r\n".encode()
            peer.sendall(status + b"Transfer-Encoding: Chunked\r\nContent-Length: 5\r\n\r\n")
            for at in range(start, size, 777):
                piece = BODY[at : at + 777]
                peer.sendall(b"%X ; a=b\r\n" % len(piece) + piece + b"\r\n")
            peer.sendall(b"000\r\nX-Checksum: 1\r\n\r\n")
        elif scene == "moved-here":
            name, port = peer.getsockname()[:2]
            host = fields["host"].rpartition(":")[0] or name
            peer.sendall(f"HTTP/1.1 307 T\r\nLocation: HTTP://{host}:{port}/p/good#part\r\n\r\n".encode())
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
    "moved-near": b"HTTP/1.1 308 P\r\nLocation: good?at=1\r\nContent-Length: 0\r\n\r\n",
    "moved-for-ever": b"HTTP/1.1 302 Found\r\nLocation: moved-for-ever\r\n\r\n",
    "moved-away": b"HTTP/1.1 301 M\r\nLocation: https://127.0.0.1/p/good\r\n\r\n",
    "moved-nowhere": b"HTTP/1.1 301 M\r\nLocation: http://me@127.0.0.1/\r\n\r\n",
    "moved-oddly": b"HTTP/1.1 301 M\r\nLocation: /p/go od\r\n\r\n",
    "moved-silently": b"HTTP/1.1 301 M\r\nContent-Length: 0\r\n\r\n",
    "busy": b"HTTP/1.1 503 Busy\r\nRetry-After: 17\r\nContent-Length: 0\r\n\r\n",
    "busy-until": b"HTTP/1.1 429 Busy\r\nRetry-After: Fri, 31 Dec 1999 23:59:59 GMT\r\n\r\n",
    "bare-lf": b"HTTP/1.1 200 OK\nContent-Length: 5\n\nhello",
    "bare-cr": b"HTTP/1.1 200 OK\r\nX: a\rContent-Length: 9\r\nContent-Length: 5\r\n\r\nhello",
    "chunk-cut": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
    "chunk-odd": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n0\r\n\r\n",
    "chunk-large": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFF\r\nhello",
    "chunk-endless": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1" * 5000,
    "twice-coded": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "lengths-differ": b"HTTP/1.1 200 OK\r\nContent-Length: 5, 6\r\n\r\nhello",
    "long-length": b"HTTP/1.1 200 OK\r\nContent-Length: " + b" " * 5000 + b"5\r\n\r\nhello",
    "interim-for-ever": b"HTTP/1.1 102 Processing\r\n\r\n" * 2000,
    "switching": b"HTTP/1.1 101 Switching\r\n\r\n",
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
