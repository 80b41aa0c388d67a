"""What the enrolment tests meet: the real server, and in front of it one that may be away, slow to answer or a liar."""

from __future__ import annotations

import contextlib
import hashlib
import json
import secrets
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

from peers import Control
from server_process import KeyRing, ServerProcess

from tidegate import enrolment
from tidegate.enrolment import Answer, Claim
from tidegate.trust import keys
from tidegate.trust import store as trust_store


class Front:
    """An HTTP server that passes requests on as `mode` says: see `_MODES`."""

    def __init__(self, server: ServerProcess, store: bytes):
        self.server = server
        self.store = store
        self.mode = "pass"
        self.times = 0  # how often the mode counts before it is "pass" again; 0: for ever
        self.asked = 0
        self.claims: dict[bytes, Claim] = {}
        front = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                front.asked += 1
                answer = front.answer(self.path, self.headers["Content-Type"], body)
                self.close_connection = True
                if answer is None:
                    return
                status, kind, data = answer
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(100_000 if front.mode == "huge" else len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        Thread(target=self.http.serve_forever, args=(0.05,), daemon=True).start()

    def answer(self, path: str, kind: str, body: bytes) -> tuple[int, str, bytes] | None:
        mode = self.mode
        if self.times:
            self.times -= 1
            if not self.times:
                self.mode = "pass"
        if mode == "away":
            return None
        if mode == "busy":
            return 503, "application/problem+json", b'{"detail": "too much to do", "remedy": "Ask again"}'
        if mode == "html":
            return 200, "text/html", b"<h1>Welcome to the hotel's network</h1>"
        if mode == "huge":
            return 200, kind, b""
        if mode in ("pass", "lose"):
            request = urllib.request.Request(self.server.url + path, body, {"Content-Type": kind})
            try:
                with urllib.request.urlopen(request, timeout=30) as told:
                    found = told.status, told.headers["Content-Type"], told.read()
            except urllib.error.HTTPError as error:
                found = error.code, error.headers["Content-Type"], error.read()
            return None if mode == "lose" else found
        return 200, kind, self.lie(mode, body)

    def lie(self, mode: str, body: bytes) -> bytes:
        """What somebody answers who has the server, and with it the claims' secrets; "forged": who has not."""
        asked = enrolment.decode_request(body)
        claim = self.claims[asked.claim_id]
        nonce = bytes(16) if mode == "stale" else asked.open().nonce
        strange = trust_store.encode(trust_store.make([keys.new("release"), keys.new("command")]))
        store = {"swap": strange, "none": None}.get(mode, self.store)
        own = enrolment.device_id(asked.open().public)
        device = {"path": "../config", "named": "gate-7", "print": "0f" * 16}.get(mode, own)
        secret = bytes(32) if mode == "forged" else claim.secret
        return enrolment.encode_answer(Answer(device, bytes(16), nonce, "default", store), secret)

    # ------------------------------------------------------------ what the script asks for

    def set(self, mode: str, times: str = "0") -> None:
        self.mode, self.times, self.asked = mode, int(times), 0

    def claim(self, **wanted: object) -> str:
        told = self.server.api("POST", "/claims", json=wanted)
        made = enrolment.complete(told["claim"], self.store, told["device"])
        self.claims[made.id] = made
        return made.text

    def named(self, name: str) -> str:
        return self.claim(name=name)

    def for_device(self, device: str) -> str:
        return self.claim(device=device)

    def registered(self, device: str) -> str:
        """A claim for a device that is registered with a password, and has no key yet."""
        self.server.api("POST", "/devices", json={"id": device, "board": "unix", "product": "tidegate-gateway"})
        return self.claim(device=device)

    def short(self) -> str:
        return self.claim(expires_s=1)

    def state(self, text: str) -> str:
        """State of a claim, who has used it, and how many devices there are with that key."""
        rows = self.server.api("GET", "/claims?limit=500")["claims"]
        row = next(row for row in rows if row["id"] == text[5:21])
        devices = self.server.api("GET", "/devices?limit=500")["devices"]
        count = sum(device["id"] == row["used_by"] for device in devices)
        return f"{row['state']},{row['used_by']},{count}"

    def count(self) -> int:
        return len(self.server.api("GET", "/devices?limit=500")["devices"])

    def login(self, user: str, password: str) -> str:
        device = self.server.device(user, password, listen=False, client_id="probe" + secrets.token_hex(4))
        refused = device.refused
        device.leave()
        return refused or "taken"

    def key(self, device: str) -> str:
        return self.server.shown(device)["key"]


@contextlib.contextmanager
def serve(host: str) -> Iterator[dict[str, str]]:
    with tempfile.TemporaryDirectory(prefix="tidegate-enrol-") as top, contextlib.ExitStack() as stack:
        ring = KeyRing(Path(top))
        server = ServerProcess(Path(top) / "data", "--trust", str(ring.trust))
        stack.callback(server.stop)
        store = ring.trust.read_bytes()
        front = Front(server, store)
        stack.callback(front.http.server_close)
        stack.callback(front.http.shutdown)
        verbs = {
            name: getattr(front, name)
            for name in ("set", "claim", "named", "short", "state", "count", "login", "registered")
        }
        verbs |= {"for": front.for_device, "key": front.key, "asked": lambda: front.asked}
        control = Control(verbs)
        stack.callback(control.server.close)
        yield {
            "host": host,
            "control": str(control.server.port),
            "port": str(front.http.server_address[1]),
            "store": store.hex(),
            "store_sha256": hashlib.sha256(store).hexdigest(),
            "config": json.dumps(
                {
                    "product": "tidegate-gateway",
                    "vendor": "tidegate.example",
                    "board": "unix",
                    "mqtt": {"host": host, "port": 1883},
                    "payloads": f"http://{host}:{front.http.server_address[1]}/",
                }
            ),
        }
