"""What a connection may take before anybody knows whose it is: idle ones, slow ones, bodies of nobody, over TLS too."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from server_process import ServerProcess, eventually

from ota_server.http import guard
from ota_server.http.server import HttpServer
from ota_server.http.turns import Turns
from ota_server.peer_key import peer_key
from tidegate.trust import certificates

HEAD = b"PUT /x HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n"


def answer(environ, start_response):
    """Says how many bytes it was sent, and by whom."""
    size = len(environ["wsgi.input"].read())
    body = json.dumps({"size": size, "peer": environ["REMOTE_ADDR"], "scheme": environ["wsgi.url_scheme"]}).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]


class Running:
    def __init__(self, tls: Path | None = None, **options):
        context = None
        if tls is not None:
            authority = certificates.authority("fleet")
            issued = certificates.issue_server(authority, ["127.0.0.1"])
            issued.save(tls / "server.crt", tls / "server.key")
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(tls / "server.crt", tls / "server.key")
        holder = {"tg_good": 1, "tg_other": 2}.get
        self.web = HttpServer(answer, "127.0.0.1", 0, 4 << 20, context, holder, **options)
        self.tls = tls is not None
        self.thread = threading.Thread(target=self.web.run, daemon=True)
        self.thread.start()

    def connect(self, source: str = "127.0.0.1") -> socket.socket:
        sock = socket.create_connection(self.web.address, 30, source_address=(source, 0))
        if self.tls:
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            return context.wrap_socket(sock)
        return sock

    def ask(self, request: bytes, source: str = "127.0.0.1") -> bytes:
        with self.connect(source) as sock:
            with contextlib.suppress(ConnectionError):  # it may have answered and closed before all is sent
                sock.sendall(request)
            return read_all(sock)

    def well(self, source: str = "127.0.0.1") -> bool:
        return b" 200 OK\r\n" in self.ask(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", source)


def read_all(sock: socket.socket) -> bytes:
    got = bytearray()
    with contextlib.suppress(ConnectionError, TimeoutError, ssl.SSLError):
        while piece := sock.recv(65536):
            got += piece
    return bytes(got)


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    started: list[Running] = []

    def make(tls: bool = False, **options) -> Running:
        started.append(Running(tmp_path if tls else None, **options))
        return started[-1]

    yield make
    for one in started:
        one.web.close()


@pytest.mark.parametrize("tls", [False, True])
def test_idle_connections_of_an_address_make_room_for_its_next(run, monkeypatch, tls):
    monkeypatch.setattr(guard, "MAX_OF_ADDRESS", 20)
    server = run(tls)
    with contextlib.ExitStack() as stack:
        idle = [stack.enter_context(server.connect()) for _ in range(30)]
        for sock in idle:
            with contextlib.suppress(OSError):
                sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n")
        for _ in range(3):
            assert server.well() and server.well("127.0.0.2")


def test_all_connections_together_have_a_bound_and_the_busiest_address_pays(run, monkeypatch):
    monkeypatch.setattr(guard, "MAX_CONNECTIONS", 20)
    server = run()
    with contextlib.ExitStack() as stack:
        patient = stack.enter_context(server.connect("127.0.0.2"))
        patient.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n")
        time.sleep(0.3)
        for _ in range(60):
            stack.enter_context(server.connect())
        assert server.well("127.0.0.3")
        patient.sendall(b"Connection: close\r\n\r\n")
        assert b" 200 OK" in read_all(patient)


@pytest.mark.parametrize("tls", [False, True])
def test_a_header_has_a_deadline_however_steadily_it_comes(run, monkeypatch, tls):
    monkeypatch.setattr(guard, "HEAD_S", 1)
    server = run(tls)
    with server.connect() as silent, server.connect() as slow:
        began = time.monotonic()
        with contextlib.suppress(OSError):
            slow.sendall(b"GET / HTTP/1.1\r\nX-Long: ")
            while time.monotonic() - began < 30:
                slow.sendall(b"x")
                time.sleep(0.2)
        assert 0.9 < time.monotonic() - began < 20
        assert read_all(silent) == b""


def test_a_body_has_a_least_rate(run, monkeypatch):
    monkeypatch.setattr(guard, "BODY_GRACE_S", 1)
    server = run()
    with server.connect() as slow:
        began = time.monotonic()
        slow.sendall(HEAD % 5000 + b"\r\n")
        with contextlib.suppress(OSError):
            while time.monotonic() - began < 30:
                slow.sendall(b"x")
                time.sleep(0.2)
        assert time.monotonic() - began < 20


def test_a_large_body_needs_a_token_before_it_is_read(run):
    server = run()
    began = time.monotonic()
    for token in (b"", b"Authorization: Bearer tg_wrong\r\n", b"Authorization: Basic tg_good\r\n"):
        for framing in (b"Content-Length: 4000000\r\n", b"Content-Length: 4000000\r\nExpect: 100-continue\r\n"):
            got = server.ask(b"PUT /x HTTP/1.1\r\nHost: x\r\n" + framing + token + b"\r\n" + b"x" * 1000)
            assert got.startswith(b"HTTP/1.1 401 "), got[:100]
            assert (
                b"www-authenticate: bearer" in got.lower()
                and json.loads(got.partition(b"\r\n\r\n")[2])["status"] == 401
            )
    assert time.monotonic() - began < 60, "nothing waits for the body"
    whole = server.ask(HEAD % 3_000_000 + b"\r\n" + b"x" * 3_000_000)
    assert whole.startswith(b"HTTP/1.1 401 "), "the answer is not lost to a client that sends without looking"
    chunks = (
        b"PUT /x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + (b"1000\r\n" + b"x" * 4096 + b"\r\n") * 9
    )
    assert server.ask(chunks).startswith(b"HTTP/1.1 413 ")
    good = b"Authorization: Bearer tg_good\r\nConnection: close\r\n\r\n"
    assert b'"size": 2000000' in server.ask(HEAD % 2_000_000 + good + b"x" * 2_000_000)
    assert b'"size": 100,' in server.ask(HEAD % 100 + b"Connection: close\r\n\r\n" + b"x" * 100), "small ones do not"
    continued = server.ask(HEAD % 100_000 + b"Expect: 100-continue\r\n" + good + b"x" * 100_000)
    assert continued.startswith(b"HTTP/1.1 100 Continue") and b'"size": 100000' in continued


def test_bodies_that_never_end_leave_room_for_others(run, monkeypatch):
    monkeypatch.setattr(guard, "BODIES", 6 << 20)
    monkeypatch.setattr(guard, "OF_HOLDER", 3 << 20)
    monkeypatch.setattr(guard, "SMALL_BODIES", 20_000)
    server = run()
    good, other = (b"Authorization: Bearer tg_%s\r\nConnection: close\r\n\r\n" % name for name in (b"good", b"other"))
    with contextlib.ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(server.connect()).sendall(HEAD % (1 << 20) + good + b"x" * 1000)
        stack.enter_context(server.connect()).sendall(HEAD % 16_000 + b"\r\nx")
        time.sleep(0.5)
        refused = server.ask(HEAD % 100_000 + good)
        assert refused.startswith(b"HTTP/1.1 503 ") and b"Retry-After: 5" in refused
        assert server.ask(HEAD % 5000 + b"\r\n").startswith(b"HTTP/1.1 503 ")
        assert b'"size": 1000000' in server.ask(HEAD % 1_000_000 + other + b"x" * 1_000_000)
        assert server.well()
    eventually(lambda: b'"size": 100000' in server.ask(HEAD % 100_000 + good + b"x" * 100_000))


@pytest.mark.parametrize("tls", [False, True])
def test_the_application_sees_the_real_peer(run, tls):
    server = run(tls)
    lies = b"X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: gopher\r\nForwarded: for=6.6.6.6\r\n"
    for source in ("127.0.0.1", "127.0.0.9"):
        got = server.ask(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + lies + b"\r\n", source)
        told = json.loads(got.partition(b"\r\n\r\n")[2])
        assert told["peer"] == source and told["scheme"] == ("https" if tls else "http")


@pytest.mark.parametrize("tls", [False, True])
def test_a_proxy_is_believed_only_if_it_was_named(run, tls):
    server = run(tls, trusted_proxy="127.0.0.5")
    request = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Forwarded-For: 1.1.1.1, 203.0.113.7\r\n\r\n"
    for source, right in (("127.0.0.5", "203.0.113.7"), ("127.0.0.6", "127.0.0.6")):
        got = server.ask(request, source)
        assert json.loads(got.partition(b"\r\n\r\n")[2])["peer"] == right


def test_a_host_counts_once_whatever_addresses_it_takes():
    assert peer_key("192.0.2.1") == peer_key("::ffff:192.0.2.1") == "192.0.2.1"
    assert peer_key("2001:db8::1") == peer_key("2001:db8::ffff:1") != peer_key("2001:db8:0:1::1")
    assert peer_key("fe80::1%eth0") == "fe80::/64" and peer_key("?") == "?"


def test_a_hundred_idle_connections_and_bodies_of_nobody(start):
    """The whole server, as it is: it answers, and its memory does not grow by what nobody was asked for."""
    server: ServerProcess = start()

    def memory_mib() -> int:
        lines = Path(f"/proc/{server.process.pid}/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) // 1024

    host, port = httpx.URL(server.url).host, httpx.URL(server.url).port
    name = hashlib.sha256(b"").hexdigest().encode()
    head = b"PUT /api/v1/payloads/" + name + b" HTTP/1.1\r\nHost: x\r\nContent-Length: 4194304\r\n\r\n"
    with contextlib.ExitStack() as stack:
        for _ in range(110):
            sock = stack.enter_context(socket.create_connection((host, port), 30))
            sock.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n")
        assert httpx.get(server.url + "/healthz", timeout=60).status_code == 200
        before = memory_mib()
        for _ in range(40):
            sock = stack.enter_context(socket.create_connection((host, port), 30))
            with contextlib.suppress(OSError):
                sock.sendall(head + os.urandom(4_000_000))
        assert httpx.get(server.url + "/healthz", timeout=60).status_code == 200
        assert memory_mib() - before < 60, "of 160 MB that were sent"


def test_a_connection_that_is_kept_open_holds_no_memory(run, monkeypatch):
    monkeypatch.setattr(guard, "OF_HOLDER", 1 << 20)
    server = run()
    request = HEAD % 900_000 + b"Authorization: Bearer tg_good\r\n\r\n" + b"x" * 900_000
    with contextlib.ExitStack() as stack:
        for _ in range(5):
            sock = stack.enter_context(server.connect())
            sock.sendall(request)
            assert sock.recv(12) == b"HTTP/1.1 200"
            time.sleep(0.1)


def test_addresses_take_turns(run):
    """One address with many requests does not hold up another's."""

    class Task:
        def __init__(self, key: str):
            self.key = key

    turns = Turns()
    tasks = [Task("busy") for _ in range(100)] + [Task("other"), Task("third")]
    for task in tasks:
        turns.append(task)
    assert len(turns) == 102 and bool(turns)
    out = [turns.popleft() for _ in range(102)]
    assert [task.key for task in out[:4]] == ["busy", "other", "third", "busy"]
    assert [task for task in out if task.key == "busy"] == tasks[:100] and not turns
    server = run()
    assert isinstance(server.web._web.task_dispatcher.queue, Turns)
    with contextlib.ExitStack() as stack:
        for _ in range(50):
            stack.enter_context(server.connect()).sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 100)
        assert server.well("127.0.0.2")


@pytest.mark.parametrize(
    "target, field",
    [
        (b"http://[::1/healthz", b""),
        (b"http://[v/", b""),
        (b"/", b"Content-Length: " + b"9" * 5000 + b"\r\n"),
        (b"/", b"Host: y\r\n"),
    ],
    ids=["half an address", "an odd address", "a length of 5000 digits", "two hosts"],
)
def test_a_header_that_cannot_be_read_is_answered(run, caplog, target, field):
    running = run()
    got = running.ask(b"GET " + target + b" HTTP/1.1\r\nHost: x\r\n" + field + b"\r\n")
    assert b" 400 Bad Request\r\n" in got
    assert "uncaptured" not in caplog.text


def test_a_request_without_a_body_does_not_wait_for_one(run):
    got = run().ask(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nExpect: 100-continue\r\n\r\n")
    assert b" 200 OK\r\n" in got and b" 100 " not in got


def test_blank_lines_without_end_are_no_request(run):
    running = run()
    assert running.ask(b"\r\n\r\n" * 1000).count(b" 400 Bad Request\r\n") == 1
    assert b" 200 OK\r\n" in running.ask(b"\r\nGET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
