"""How the command line talks to a server: what goes without TLS, and what it says when TLS does not hold."""

from __future__ import annotations

import datetime
import http.server
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import Result
from odd_server import OddServer, reply

from tidegate.client import plain_addresses
from tidegate.client.server import Server
from tidegate.client.transport import ServerError
from tidegate.errors import TidegateError
from tidegate.trust import certificates

Cli = Callable[..., Result]
FAR = "http://192.0.2.1:9"


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    for name in ("TIDEGATE_INSECURE", "TIDEGATE_CA"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "token").write_text("tg_secret")
    return tmp_path / "config" / "tidegate"


# ---------------------------------------------------------------- without TLS


@pytest.mark.parametrize(
    ("host", "here"),
    [
        *(
            (name, True)
            for name in ("127.0.0.1", "127.9.9.9", "localhost", "LOCALHOST.", "a.localhost", "::1", "[::1]")
        ),
        *(
            (name, False)
            for name in ("192.168.0.1", "10.0.0.1", "127.0.0.1.nip.io", "localhost.example", "0.0.0.0", "")
        ),
        *((name, False) for name in ("::ffff:192.0.2.1", "gate", "2130706433", "127.1")),
    ],
)
def test_what_is_this_machine(host: str, here: bool) -> None:
    assert plain_addresses.is_here(host) is here


def test_insecure_is_asked_for_once(cli: Cli, own_folder: Path, tmp_path: Path) -> None:
    words = ("device", "list", "--server", FAR, "--token-file", tmp_path / "token")
    refused = cli(*words)
    assert refused.exit_code == 1 and f"{FAR} is on another machine and has no TLS" in refused.stderr
    assert "https://" in refused.stderr and "--insecure" in refused.stderr
    assert not own_folder.exists()
    Server(FAR, "t", insecure=True)
    assert (own_folder / "insecure.json").stat().st_mode & 0o777 == 0o600
    Server(FAR, "t")  # remembered
    for other in ("http://192.0.2.1:10", "http://192.0.2.2:9"):
        with pytest.raises(TidegateError, match="--insecure"):
            Server(other, "t")


def test_the_environment_allows_and_remembers_nothing(own_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDEGATE_INSECURE", "1")
    Server(FAR, "t")
    assert not own_folder.exists()
    monkeypatch.setenv("TIDEGATE_INSECURE", "0")
    with pytest.raises(TidegateError):
        Server(FAR, "t")


@pytest.mark.parametrize("content", [b"{", b"{}", b"[1]", b"\xff"])
def test_a_damaged_memory_is_named(own_folder: Path, content: bytes) -> None:
    own_folder.mkdir(parents=True)
    (own_folder / "insecure.json").write_bytes(content)
    with pytest.raises(TidegateError, match="insecure.json"):
        Server(FAR, "t", insecure=True)


def test_a_broker_elsewhere_needs_it_too(cli: Cli, tmp_path: Path) -> None:
    done = cli("serve", "--data", tmp_path / "data", "--broker", "mqtt://user:secret@192.0.2.1")
    assert done.exit_code == 1 and "mqtt://192.0.2.1:1883 is on another machine" in done.stderr
    assert "secret" not in done.stderr and not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    "url", ["ftp://a", "http://", "http://[", "http://a b", "https://u:p@h", "http://h/?x", "\x1b[2J"]
)
def test_addresses_that_are_none(cli: Cli, tmp_path: Path, url: str) -> None:
    done = cli("device", "list", "--server", url, "--token-file", tmp_path / "token")
    assert done.exit_code == 1 and done.stderr.isascii() and "\x1b" not in done.stderr


def test_a_redirect_never_gets_the_token(tmp_path: Path) -> None:
    thief, server = OddServer(), OddServer()
    for status in (301, 302, 303, 307, 308):
        server.twist = lambda request, usual, status=status: (
            lambda handler: reply(handler, b"", status, {"Location": thief.url + "/api/v1/groups"})
        )
        with Server(server.url, "t") as api, pytest.raises(ServerError, match="redirect to") as caught:
            api.groups()
        assert thief.url in caught.value.message and "--server" in caught.value.remedy
    assert thief.heard == []
    thief.close()
    server.close()


# ---------------------------------------------------------------- TLS that does not hold


class Tls:
    """A server with a certificate; `url` and `ca`."""

    def __init__(self, folder: Path, issued: certificates.Issued, authority: certificates.Issued):
        folder.mkdir()
        issued.save(folder / "server.crt", folder / "server.key")
        authority.save(folder / "ca.crt", folder / "ca.key")
        self.ca = folder / "ca.crt"

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                reply(self, b'{"digest": "d", "groups": []}')

            def do_PUT(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                reply(self, b"{}")

            def log_message(self, *_: object) -> None:
                pass

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "server.crt", folder / "server.key")
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.handle_error = lambda *_: None  # type: ignore[method-assign]
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True, do_handshake_on_connect=False)
        self.port = self.server.server_port
        self.url = f"https://127.0.0.1:{self.port}"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Tls]]:
    running: list[Tls] = []

    def start(names: list[str], from_days: int = 0, to_days: int = 10) -> Tls:
        now = datetime.datetime.now(datetime.UTC)
        authority = certificates.authority("fleet")
        life = certificates.Lifetime(now + datetime.timedelta(days=from_days), now + datetime.timedelta(days=to_days))
        running.append(Tls(tmp_path / str(len(running)), certificates.issue_server(authority, names, life), authority))
        return running[-1]

    yield start
    for one in running:
        one.server.shutdown()
        one.server.server_close()


def said(url: str, ca: Path | None, upload: bool = False) -> str:
    with Server(url, "t", ca) as api, pytest.raises(ServerError) as caught:
        if upload:
            api.put_payload("ab" * 32, b"x" * 100_000)
        else:
            api.groups()
    assert caught.value.remedy
    return str(caught.value)


@pytest.mark.parametrize("upload", [False, True], ids=["download", "upload"])
def test_trouble_with_a_certificate_is_named(serve: Callable[..., Tls], upload: bool) -> None:
    good = serve(["127.0.0.1"])
    with Server(good.url, "t", good.ca) as api:
        assert api.groups()["groups"] == []
        api.put_payload("ab" * 32, b"x" * 100_000)
    other = serve(["127.0.0.1"])
    expired, early = serve(["127.0.0.1"], -9, -1), serve(["127.0.0.1"], 5)
    named = serve(["gate.example"])
    assert "TIDEGATE_CA" in said(good.url, other.ca, upload)
    assert "authority is unknown" in said(good.url, other.ca, upload)
    assert "has expired" in said(expired.url, expired.ca, upload)
    assert "clock" in said(early.url, early.ca, upload)
    assert "another" in said(named.url, named.ca, upload)
    wrong = said(f"http://127.0.0.1:{good.port}", None, upload)
    assert "https://" in wrong, wrong


def test_plain_http_on_a_port_that_https_is_expected_of() -> None:
    server = OddServer()
    assert "does not speak TLS there" in said(server.url.replace("http://", "https://"), None)
    server.close()


PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


def test_a_proxy_never_gets_the_token_for_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server, proxy = OddServer(), OddServer()
    try:
        for name in PROXIES[:3]:
            monkeypatch.setenv(name, proxy.url)
        monkeypatch.setenv("no_proxy", "")
        with Server(server.url, "tg_secret") as api:
            api.alarms.listed(1)
        assert proxy.tokens == [] and server.tokens == ["Bearer tg_secret"]
    finally:
        server.close()
        proxy.close()


@pytest.mark.parametrize("name, value", [("http_proxy", "foo://x"), ("https_proxy", "a b://"), ("no_proxy", "[::bad")])
def test_a_proxy_that_is_none_is_named(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    for one in PROXIES:
        monkeypatch.delenv(one, raising=False)
        monkeypatch.delenv(one.upper(), raising=False)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv(name, value)
    (tmp_path / "token").write_text("tg_x")
    done = cli("device", "list", "--server", "https://gate.example.invalid", "--token-file", tmp_path / "token")
    assert done.exit_code == 1 and "Error: " in done.stderr and "fault of its own" not in done.stderr


def test_a_name_that_cannot_be_decoded_is_no_address(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("tg_x")
    done = cli("device", "list", "--server", "http://xn--a", "--token-file", tmp_path / "token")
    assert done.exit_code == 1 and "is not an HTTP address" in done.stderr
