"""Clients that stop in the middle, by the hundred, of one address: the API, payloads and the broker still answer."""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from patience import limit
from server_process import ServerProcess

from tidegate.trust import certificates

MANY = 200
PAYLOAD = os.urandom(200_000)
DIGEST = hashlib.sha256(PAYLOAD).hexdigest()
STARTS = {
    "half a head": b"GET /healthz HTTP/1.1\r\nX: ",
    "half a body": b"PUT /api/v1/payloads/" + b"0" * 64 + b" HTTP/1.1\r\nHost: x\r\nContent-Length: 9000\r\n\r\nx",
    "idle": b"",
}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tls")
    certificates.issue_server(certificates.authority("fleet"), ["127.0.0.1"]).save(
        folder / "server.crt", folder / "server.key"
    )
    return folder


@pytest.fixture(scope="module", params=["plain", "tls"])
def server(
    request: pytest.FixtureRequest, files: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServerProcess]:
    options = ["--tls-cert", str(files / "server.crt"), "--tls-key", str(files / "server.key")]
    server = ServerProcess(tmp_path_factory.mktemp("slow") / "data", *(options if request.param == "tls" else []))
    server.http.close()
    server.http = httpx.Client(
        base_url=server.url, headers={"Authorization": f"Bearer {server.token}"}, timeout=limit(20), verify=False
    )
    server.api("PUT", f"/payloads/{DIGEST}", content=PAYLOAD)
    yield server
    assert server.stop() == 0 and "Traceback" not in server.log.read_text()


only_tls = pytest.mark.parametrize("server", ["tls"], indirect=True)


def is_tls(server: ServerProcess) -> bool:
    return server.url.startswith("https")


def context() -> ssl.SSLContext:
    found = ssl.create_default_context()
    found.check_hostname, found.verify_mode = False, ssl.CERT_NONE
    return found


def hello() -> bytes:
    """A ClientHello, as a client writes it."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        context().wrap_bio(incoming, outgoing).do_handshake()
    return outgoing.read()


@contextlib.contextmanager
def many(port: int, begin: bytes, tls: bool = False, count: int = MANY) -> Iterator[list[socket.socket]]:
    """Open connections that have sent this much and stop there."""
    open_: list[socket.socket] = []
    try:
        for _ in range(count):
            one = socket.create_connection(("127.0.0.1", port), limit(30))
            open_.append(context().wrap_socket(one) if tls else one)
            with contextlib.suppress(ConnectionError):
                open_[-1].sendall(begin)
        yield open_
    finally:
        for one in open_:
            one.close()


def memory_kib(server: ServerProcess) -> int:
    text = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(text.partition("VmRSS:")[2].split()[0])


def answers(server: ServerProcess, source: str = "127.0.0.1") -> float:
    """That API and payloads answer a new connection from this address; the seconds that it took."""
    began = time.monotonic()
    headers = {"Authorization": f"Bearer {server.token}"}
    way = httpx.HTTPTransport(local_address=source, verify=False)
    with httpx.Client(base_url=server.url, headers=headers, timeout=limit(15), transport=way) as client:
        assert client.get("/api/v1/devices").status_code == 200
        assert client.get(f"/p/{DIGEST}").content == PAYLOAD
    return time.monotonic() - began


@pytest.mark.parametrize("how", STARTS)
def test_two_hundred_of_them_hold_up_nobody(server: ServerProcess, how: str) -> None:
    with many(int(server.url.rpartition(":")[2]), STARTS[how], is_tls(server)):
        assert answers(server) < limit(10)


@only_tls
@pytest.mark.parametrize("where", ["http", "mqtt"])
@pytest.mark.parametrize("part", ["half", "whole"])
def test_handshakes_that_stop_cost_an_open_file(server: ServerProcess, where: str, part: str) -> None:
    """Half a ClientHello is not worth a handshake's memory; of whole ones an address has a hundred at a time."""
    port = int(server.url.rpartition(":")[2]) if where == "http" else server.mqtt_port
    begin = hello()[: None if part == "whole" else 100]
    before = memory_kib(server)
    with many(port, begin, count=2 * MANY) as open_:
        time.sleep(1)
        assert memory_kib(server) - before < (20_000 if part == "half" else 80_000)
        assert sum(has_ended(one) for one in open_) >= 2 * MANY - 260, "the oldest make room"
        # With a hundred handshakes under way the address itself waits; others do not.
        assert answers(server, "127.0.0.1" if part == "half" else "127.0.0.2") < limit(10)


def has_ended(one: socket.socket) -> bool:
    """Whether the server has closed it."""
    one.setblocking(False)
    try:
        while one.recv(65536):
            pass
    except BlockingIOError:
        return False
    except ConnectionError:
        pass
    return True


@only_tls
def test_whoever_sends_nothing_of_tls_is_gone_at_once(server: ServerProcess) -> None:
    for text in (b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\xff\xff" + bytes(100), b"\x16\x03\x01\0\0"):
        with socket.create_connection(("127.0.0.1", server.mqtt_port), limit(10)) as one:
            one.sendall(text)
            with contextlib.suppress(ConnectionError):
                assert one.recv(100) == b""


@only_tls
def test_a_hello_in_pieces_is_one(server: ServerProcess) -> None:
    """Boards write their handshake in small parts."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context().wrap_bio(incoming, outgoing)
    with socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2])), limit(20)) as one:
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                data = outgoing.read()
                for at in range(0, len(data), 50):
                    one.sendall(data[at : at + 50])
                    time.sleep(0.01)
                incoming.write(one.recv(65536))
        tls.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        one.sendall(outgoing.read())
        assert b"200" in read_some(tls, one, incoming)


def read_some(tls: ssl.SSLObject, one: socket.socket, incoming: ssl.MemoryBIO) -> bytes:
    while True:
        with contextlib.suppress(ssl.SSLWantReadError):
            return tls.read(1000)
        incoming.write(one.recv(65536))
