"""Where messages may go, and that a try ends whatever the receiver does."""

from __future__ import annotations

import base64
import contextlib
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from ota_server.webhooks import addresses, signature
from ota_server.webhooks.post import post
from tidegate.errors import TidegateError


@pytest.mark.parametrize(
    "url",
    [
        "http://hooks.example/",
        "http://10.0.0.1/",
        "http://127.0.0.1.example/",
        "ftp://hooks.example/",
        "https://",
        "https://user:word@hooks.example/",
        "https://hooks.example/#part",
        "https://hooks.example/a b",
        "https://hooks.example:99999/",
        "https://hooks.example:0/",
        "https://" + "x" * 512 + "/",
        "https://127.0.0.1/",
        "https://10.1.2.3/",
        "https://192.168.1.1/",
        "https://169.254.169.254/latest/meta-data",
        "https://[::1]/",
        "https://[::ffff:10.0.0.1]/",
        "https://[64:ff9b::a00:1]/",
        "https://[2002:a00:1::]/",
        "https://[fe80::1]/",
        "https://[fd00:ec2::254]/",
        "https://0.0.0.0/",
        "https://224.0.0.1/",
    ],
)
def test_addresses_that_are_refused(url):
    with pytest.raises(TidegateError, match="cannot be used"):
        addresses.parse(url, private=False)


def test_addresses_that_may_be_used():
    target = addresses.parse("https://hooks.example/a?b=c", private=False)
    assert target == ("hooks.example", 443, "/a?b=c", False) and target.origin == "https://hooks.example:443"
    assert addresses.parse("http://[::1]:8080", private=False).origin == "http://[::1]:8080"
    assert addresses.parse("https://10.1.2.3/", private=True).host == "10.1.2.3"
    for never in ("https://169.254.169.254/", "https://0.0.0.0/", "https://[64:ff9b::a00:1]/"):
        with pytest.raises(TidegateError):
            addresses.parse(never, private=True)


def test_a_name_that_stands_for_this_machine_is_refused_when_it_is_sent():
    outcome = post("https://localhost:1/", {}, b"{}", private=False)
    assert outcome.status is None and outcome.why is not None and "is not a public address" in outcome.why


def test_the_signature_of_the_specification():
    """Its example: github.com/standard-webhooks/standard-webhooks."""
    secret = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    made = signature.headers(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert made["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert signature.shown(secret) == "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@contextlib.contextmanager
def answering(work: Callable[[socket.socket], None]) -> Iterator[str]:
    """The URL of a listener whose one connection is served by `work`."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with contextlib.suppress(OSError), listener.accept()[0] as connection:
                work(connection)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
    thread.join(30)


def test_who_never_ends_its_answer_is_left():
    ended = threading.Event()

    def drip(connection: socket.socket) -> None:
        connection.recv(65536)
        while not ended.wait(0.05):
            connection.sendall(b"H")  # never the end of a line, and never silence

    with answering(drip) as url:
        outcome = post(url, {}, b"{}", private=False, whole_s=0.5)
        ended.set()
    assert outcome.status is None and outcome.why is not None


@pytest.mark.parametrize(
    ("answer", "status", "why"),
    [
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204, None),
        (b"HTTP/1.1 301 Moved\r\nLocation: http://127.0.0.1:1/\r\n\r\n", 301, "it answered 301"),
        (b"HTTP/1.1 410 Gone\r\n\r\n", 410, "it answered 410"),
        (b"220 mail.example ready, a secret\r\n\r\n", None, "it did not answer in HTTP"),
    ],
)
def test_what_it_answers(answer, status, why):
    def reply(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(answer)

    with answering(reply) as url:
        assert post(url, {}, b"{}", private=False) == (status, why)


def test_nobody_there():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
    assert post(url, {}, b"{}", private=False).status is None
