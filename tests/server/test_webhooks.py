"""Webhooks from end to end: a real server, a real receiver that checks signatures as Standard Webhooks has it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from click.testing import CliRunner, Result
from server_process import eventually

from ota_server.cli.webhook import webhook


class Receiver:
    """Answers with the next of `statuses`, in the end with 204; `got` has (path, headers, body) of each POST."""

    def __init__(self, *statuses: int):
        self.got: list[tuple[str, dict[str, str], bytes]] = []
        answers = list(statuses)

        class Handler(BaseHTTPRequestHandler):
            def do_POST(handler) -> None:
                body = handler.rfile.read(int(handler.headers["Content-Length"]))
                status = answers.pop(0) if answers else 204
                self.got.append((handler.path, {k.lower(): v for k, v in handler.headers.items()}, body))
                handler.send_response(status)
                handler.send_header("Location", "/elsewhere")
                handler.end_headers()

            def log_message(handler, *_: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/hook?of=us"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def events(self) -> list[str]:
        return [json.loads(body)["type"] for _, _, body in self.got]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    one = Receiver(500, 302)
    yield one
    one.http.shutdown()
    one.http.server_close()


def run(server, *arguments: str) -> Result:
    """A command beside the running server, in this process, which is quicker."""
    return CliRunner().invoke(webhook, [*arguments, "--data", str(server.data)])


def is_signed(secret: str, headers: dict[str, str], body: bytes) -> bool:
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    right = "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    return headers["webhook-signature"] == right


def test_what_happens_is_sent_signed_until_it_is_taken_across_a_restart(start, receiver):
    server = start()
    added = server.cli("server", "webhook", "add", receiver.url, "--events", "device.failed,alarm.raised", "--json")
    made = json.loads(added.stdout)
    secret = made["secret"]
    assert secret.startswith("whsec_") and len(base64.b64decode(secret[6:])) == 32
    device = server.device("gw-1")
    device.born()
    device.report(7, 2, 3, 9, detail="it crashed")  # rolled back
    eventually(lambda: len(receiver.got) >= 1)
    server.stop()
    waited = len(receiver.got)
    server = start()
    eventually(lambda: len(receiver.got) >= 3)

    def ended() -> list:
        log = server.api("GET", "/webhooks/1/deliveries")["deliveries"]
        return log if log and all(row["state"] == "delivered" for row in log) else []

    log = eventually(ended)
    assert waited < 3 and receiver.events() == ["device.failed"] * 3  # once taken, it is not sent again
    assert len(log) == 1 and log[0]["status"] == 204 and log[0]["why"] is None and log[0]["tries"] >= 3
    assert {path for path, _, _ in receiver.got} == {"/hook?of=us"}
    assert len({headers["webhook-id"] for _, headers, _ in receiver.got}) == 1
    assert all(is_signed(secret, headers, body) for _, headers, body in receiver.got)
    assert not is_signed(secret, receiver.got[0][1], receiver.got[0][2] + b" ")
    facts = json.loads(receiver.got[0][2])["data"]
    assert (facts["device"], facts["phase"], facts["detail"]) == ("gw-1", "rolled-back", "it crashed")

    device = server.device("gw-2")
    device.say("alarm", {1: "crash", 2: "boom"})
    assert json.loads(run(server, "test", "1", "--json").stdout) == {"id": 1}
    eventually(lambda: len(receiver.got) >= 5)
    assert sorted(receiver.events()[3:]) == ["alarm.raised", "webhook.test"]
    eventually(ended)
    assert [row["event"] for row in json.loads(run(server, "log", "1", "--json").stdout)][-1] == ("device.failed")

    listed = server.api("GET", "/webhooks")
    assert listed["webhooks"][0]["origin"] == receiver.url.partition("/hook")[0]
    seen = json.dumps(listed) + json.dumps(server.api("GET", "/audit")) + server.log.read_text()
    seen += run(server, "list").stdout
    stored = b"".join(path.read_bytes() for path in server.data.glob("tidegate.db*"))
    assert secret not in seen and "of=us" not in json.dumps(listed)
    assert secret.encode() not in stored and base64.b64decode(secret[6:]) not in stored

    assert json.loads(run(server, "remove", "1", "--json").stdout) == {"id": 1}
    device.say("alarm", {1: "crash", 2: "again"})
    eventually(lambda: len(server.api("GET", "/devices/gw-2/alarms")["alarms"]) == 2)
    assert len(server.api("GET", "/webhooks/1/deliveries")["deliveries"]) == 3  # nothing more, and the log stays
    assert server.http.get("/api/v1/webhooks/2/deliveries").status_code == 404
    assert "cannot be used" in str(run(server, "add", "http://169.254.169.254/latest").exception)
    assert "is not an event" in str(run(server, "add", receiver.url, "--events", "all").exception)
