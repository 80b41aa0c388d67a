"""A server that speaks TLS: whom it lets in, who cannot hold it up, and that it is the same server otherwise."""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from patience import limit
from server_process import ServerProcess, eventually

from tidegate.trust import certificates

PAYLOAD = os.urandom(300_000)
KIND = "application/cbor"


class Files:
    """An authority's files and what it issued, and another authority with the same name."""

    def __init__(self, folder: Path):
        self.folder = folder
        authority, stranger = certificates.authority("fleet"), certificates.authority("fleet")
        self._save("ca", authority)
        self._save("server", certificates.issue_server(authority, ["127.0.0.1"]))
        for device in ("gate-1", "gate-2"):
            self._save(device, certificates.issue_device(authority, device))
        self._save("stranger", certificates.issue_device(stranger, "gate-1"))

    def _save(self, name: str, issued: certificates.Issued) -> None:
        issued.save(self.folder / f"{name}.crt", self.folder / f"{name}.key")

    def pair(self, name: str) -> tuple[str, str]:
        return str(self.folder / f"{name}.crt"), str(self.folder / f"{name}.key")

    def options(self) -> list[str]:
        crt, key = self.pair("server")
        return ["--tls-cert", crt, "--tls-key", key]

    def client(self, name: str | None = None) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self.folder / "ca.crt")
        if name:
            context.load_cert_chain(*self.pair(name))
        return context


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return Files(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, files: Files) -> Iterator[ServerProcess]:
    """One that wants certificates from gateways."""
    ca = str(files.folder / "ca.crt")
    made = ServerProcess(tmp_path_factory.mktemp("s") / "data", *files.options(), "--tls-client-ca", ca)
    made.http = httpx.Client(
        base_url=made.url, headers=dict(made.http.headers), verify=files.client(), timeout=limit(60)
    )
    yield made
    assert made.stop() == 0
    assert "Traceback" not in made.log.read_text()


def test_addresses_say_so(server: ServerProcess) -> None:
    assert server.url.startswith("https://")
    assert server.mqtt.startswith("mqtts://")
    assert server.http.get("/healthz").json() == {"ok": True}


def test_large_bodies_in_both_directions(server: ServerProcess) -> None:
    digest = hashlib.sha256(PAYLOAD).hexdigest()
    server.api("PUT", f"/payloads/{digest}", content=PAYLOAD)
    assert server.http.get(f"/p/{digest}").content == PAYLOAD
    part = server.http.get(f"/p/{digest}", headers={"Range": "bytes=299000-"})
    assert (part.status_code, part.content) == (206, PAYLOAD[299_000:])
    too_much = server.http.put("/api/v1/payloads/" + "0" * 64, content=bytes(5 << 20))
    assert too_much.status_code == 413


def test_who_speaks_plainly_gets_nothing(server: ServerProcess) -> None:
    for port in (int(server.url.rpartition(":")[2]), server.mqtt_port):
        with socket.create_connection(("127.0.0.1", port), 10) as raw:
            raw.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            with contextlib.suppress(ConnectionError):
                assert not raw.recv(100).startswith(b"HTTP")


def test_old_versions_are_refused(server: ServerProcess, files: Files) -> None:
    context = files.client()
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.raises((ssl.SSLError, OSError)):
        handshake(server.mqtt_port, context)


def test_a_peer_that_stalls_holds_up_nobody(server: ServerProcess) -> None:
    """More connections that never begin a handshake than there are threads."""
    port = int(server.url.rpartition(":")[2])
    with contextlib.ExitStack() as held:
        for _ in range(40):
            held.enter_context(socket.create_connection(("127.0.0.1", port), 10))
            held.enter_context(socket.create_connection(("127.0.0.1", server.mqtt_port), 10))
        began = time.monotonic()
        assert server.http.get("/healthz", timeout=15).json() == {"ok": True}
        assert time.monotonic() - began < 10


def handshake(port: int, context: ssl.SSLContext) -> str | None:
    with (
        socket.create_connection(("127.0.0.1", port), 10) as raw,
        context.wrap_socket(raw, server_hostname="127.0.0.1") as secure,
    ):
        return secure.version()


def login(server: ServerProcess, context: ssl.SSLContext, user: str, password: str) -> int | None:
    """The broker's answer to CONNECT, None if there was none."""
    answers: list[int] = []
    over = threading.Event()
    client = paho.Client(CallbackAPIVersion.VERSION2, client_id=user, reconnect_on_failure=False)
    client.username_pw_set(user, password)
    client.tls_set_context(context)

    def answered(_client, _data, _flags, reason, _properties) -> None:
        answers.append(reason.value)
        over.set()

    client.on_connect = answered
    client.on_disconnect = lambda *_: over.set()
    try:
        client.connect("127.0.0.1", server.mqtt_port, 30)
    except (ssl.SSLError, OSError):
        return None
    client.loop_start()
    over.wait(20)
    client.disconnect()
    client.loop_stop()
    return answers[0] if answers else None


def test_a_gateway_needs_its_own_certificate_and_its_password(server: ServerProcess, files: Files) -> None:
    passwords = {name: server.register(name) for name in ("gate-1", "gate-2")}
    assert login(server, files.client("gate-1"), "gate-1", passwords["gate-1"]) == 0
    assert login(server, files.client("gate-1"), "gate-1", passwords["gate-2"]) != 0
    assert login(server, files.client("gate-1"), "gate-2", passwords["gate-2"]) != 0, "another's certificate"
    assert login(server, files.client(), "gate-1", passwords["gate-1"]) != 0, "none"
    assert login(server, files.client("stranger"), "gate-1", passwords["gate-1"]) in (None, 134, 135, 5)
    assert login(server, ssl.create_default_context(), "gate-1", passwords["gate-1"]) is None


def test_without_a_client_authority_the_password_is_enough(start: Callable[..., ServerProcess], files: Files) -> None:
    made = start(*files.options())
    made.http = httpx.Client(
        base_url=made.url, headers=dict(made.http.headers), verify=files.client(), timeout=limit(60)
    )
    assert login(made, files.client(), "gate-1", made.register("gate-1")) == 0


def test_a_limit_is_one_of_each_address(start: Callable[..., ServerProcess], files: Files) -> None:
    """The front that speaks TLS hands each peer's address on: a stranger uses up no board's enrolments."""
    server = start(*files.options())

    def enrol(client: httpx.Client) -> int:
        return client.post(f"{server.url}/api/v1/enrol", content=b"\xa0", headers={"Content-Type": KIND}).status_code

    with contextlib.ExitStack() as stack:
        stranger, board = (
            stack.enter_context(
                httpx.Client(
                    transport=httpx.HTTPTransport(verify=files.client(), local_address=address), timeout=limit(60)
                )
            )
            for address in ("127.0.0.1", "127.0.0.2")
        )
        assert any(enrol(stranger) == 429 for _ in range(10_000))
        assert enrol(board) == 422


def test_the_command_line_trusts_whom_it_is_told(server: ServerProcess, files: Files) -> None:
    words = [sys.executable, "-c", "from tidegate.cli import main; main()", "device", "list", "--server", server.url]
    environment = {**os.environ, "TIDEGATE_TOKEN_FILE": str(server.data / "admin.token")}
    environment.pop("TIDEGATE_CA", None)
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=limit(60))
    assert done.returncode == 1
    assert "certificate" in done.stderr and "TIDEGATE_CA" in done.stderr
    environment["TIDEGATE_CA"] = str(files.folder / "ca.crt")
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=limit(60))
    assert done.returncode == 0, done.stderr


def test_unusable_files_are_said_in_one_line(tmp_path: Path, files: Files) -> None:
    crt, key = files.pair("server")
    (tmp_path / "text").write_text("no certificate")
    for options, word in (
        (["--tls-cert", crt], "--tls-key"),
        (["--tls-cert", crt, "--tls-key", files.pair("gate-1")[1]], "cannot be used"),
        (["--tls-cert", str(tmp_path / "text"), "--tls-key", key], "cannot be used"),
        (["--tls-cert", str(tmp_path / "none"), "--tls-key", key], "No such file"),
        (["--tls-cert", crt, "--tls-key", key, "--tls-client-ca", str(tmp_path / "text")], "authority"),
    ):
        command = [sys.executable, "-m", "ota_server", "serve", "--data", str(tmp_path / "d")]
        command += ["--http", "127.0.0.1:0", "--mqtt", "127.0.0.1:0", *options]
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit(60))
        assert done.returncode == 1, done
        assert word in done.stderr and "Traceback" not in done.stderr, done.stderr


def test_nothing_stays_behind(start: Callable[..., ServerProcess], files: Files, tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    made = start(*files.options(), env={"TMPDIR": str(scratch)})
    eventually(lambda: list(scratch.glob("tidegate-*/http")))
    assert made.stop() == 0
    assert list(scratch.glob("tidegate-*")) == []


def test_an_answer_before_the_end_of_the_request_arrives(server: ServerProcess) -> None:
    """The server refuses a large body by its header and closes, while the client still sends."""
    for _ in range(20):
        answer = server.http.put("/api/v1/payloads/" + "0" * 64, content=bytes(5 << 20))
        assert answer.status_code == 413


def test_who_is_refused_may_send_to_the_end(server: ServerProcess, files: Files) -> None:
    """The answer is there, and nothing resets the connection, which would take away what of it is on its way."""
    head = f"PUT /api/v1/payloads/{'0' * 64} HTTP/1.1\r\nHost: x\r\nContent-Length: {5 << 20}\r\n"
    with (
        socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2])), limit(10)) as raw,
        files.client().wrap_socket(raw, server_hostname="127.0.0.1") as secure,
    ):
        secure.sendall(f"{head}Authorization: Bearer {server.token}\r\n\r\n".encode() + bytes(1000))
        answer = b""
        while b"generated by tidegate" not in answer:
            data = secure.recv(65536)
            assert data, answer
            answer += data
        assert answer.startswith(b"HTTP/1.1 413 ")
        secure.settimeout(1)
        with pytest.raises(TimeoutError):  # an end here would be a close
            secure.recv(1)
        secure.settimeout(limit(10))
        for _ in range(64):
            secure.sendall(bytes(1 << 14))
