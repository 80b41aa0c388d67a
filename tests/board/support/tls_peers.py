"""TLS servers for the board to meet, right and wrong ones, and certificates for them."""

from __future__ import annotations

import contextlib
import datetime
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from patience import limit

from tidegate.trust import certificates
from tidegate.trust.certificates import Issued, Lifetime

HOST = "10.0.2.2"  # this machine, as the board sees it
NAME = "gate.example"
YEAR = datetime.timedelta(days=365)


def between(first: int, last: int) -> Lifetime:
    """From the start of one year to the start of another."""
    return Lifetime(*(datetime.datetime(year, 1, 1, tzinfo=datetime.UTC) for year in (first, last)))


def der(issued: Issued) -> bytes:
    return issued.certificate.public_bytes(serialization.Encoding.DER)


def key_der(issued: Issued) -> bytes:
    return issued.key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )


class Pki:
    """An authority, another one, and what they issue, kept in `folder` for servers to load."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.authority = certificates.authority("the fleet's")
        self.stranger = certificates.authority("the fleet's")  # same name, another key
        self.ca = self.save("ca", self.authority)[0]
        self.server = certificates.issue_server(self.authority, [NAME, HOST, "127.0.0.1"])

    def save(self, name: str, issued: Issued) -> tuple[Path, Path]:
        paths = self.folder / f"{name}.crt", self.folder / f"{name}.key"
        for path in paths:
            path.unlink(missing_ok=True)
        issued.save(*paths)
        return paths

    def context(self, issued: Issued, client_ca: Path | None = None) -> ssl.SSLContext:
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        made.load_cert_chain(*self.save("peer", issued))
        if client_ca:
            made.verify_mode = ssl.CERT_REQUIRED
            made.load_verify_locations(client_ca)
        return made


class Peer:
    """Listens on `port`; serve(socket) has each connection, in a thread of its own. errors: what it raised."""

    def __init__(self, serve: Callable[[socket.socket], None]):
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=20)
        self.port = self._listener.getsockname()[1]
        self.errors: list[Exception] = []
        self.names: list[str | None] = []  # that clients asked for
        self.serve = serve
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._handle, args=(client,), daemon=True).start()

    def _handle(self, client: socket.socket) -> None:
        client.settimeout(limit(30))
        with client:
            try:
                self.serve(client)
            except Exception as error:
                self.errors.append(error)


def secured(context: ssl.SSLContext, serve: Callable[[ssl.SSLSocket], None] | None = None) -> Peer:
    """A peer that speaks TLS; without `serve` it sends back what it gets."""

    def handle(client: socket.socket) -> None:
        with context.wrap_socket(client, server_side=True) as secure:
            (serve or echo)(secure)

    peer = Peer(handle)
    context.sni_callback = lambda _socket, name, _context: peer.names.append(name)
    return peer


def echo(client: socket.socket) -> None:
    while data := client.recv(4096):
        client.sendall(data)


def stall(client: socket.socket) -> None:
    """Takes all and says nothing."""
    while client.recv(4096):
        pass


def plain(client: socket.socket) -> None:
    """Answers whatever comes as an HTTP server without TLS does."""
    client.recv(4096)
    client.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    client.shutdown(socket.SHUT_WR)
    with contextlib.suppress(OSError):
        stall(client)


def hang_up(client: socket.socket) -> None:
    """Closes in the middle of the handshake."""
    client.recv(100)
    client.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def closing(*peers: Peer) -> Iterator[None]:
    try:
        yield
    finally:
        for peer in peers:
            peer.close()
