"""Peers for the device's network libraries: real brokers to kill and restart, an HTTP server, and nasty ones.

Runs on the host. A device script steers it over one line-based TCP port (`Control`), so that the same script works
on CPython, on the unix port and on the emulated board, which reaches this machine as 10.0.2.2.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import socket
import socketserver
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

USER, PASSWORD = "gate-1", "tide and time"
START_S = 15.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Broker:
    """A broker process on a fixed port that can be killed and started again."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.port = free_port()
        self.process: subprocess.Popen | None = None

    def command(self) -> list[str]:
        raise NotImplementedError

    def start(self) -> None:
        log = (self.folder / "log").open("ab")
        self.process = subprocess.Popen(self.command(), stdout=log, stderr=log, cwd=self.folder)
        end = time.monotonic() + START_S
        while time.monotonic() < end:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            time.sleep(0.02)
        raise RuntimeError("the broker did not start:\n" + (self.folder / "log").read_text()[-2000:])

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def pause(self, seconds: float) -> None:
        """Silent, but the connection stays: what a dead link looks like from the board."""
        assert self.process
        self.process.send_signal(signal.SIGSTOP)
        threading.Timer(seconds, self.process.send_signal, [signal.SIGCONT]).start()

    def _end(self, number: int) -> None:
        if self.process:
            self.process.send_signal(number)
            self.process.wait(10)
            self.process = None


class Mosquitto(Broker):
    """Debian's broker with a password file."""

    def command(self) -> list[str]:
        passwords = self.folder / "passwords"
        if not passwords.exists():
            subprocess.run(["mosquitto_passwd", "-b", "-c", passwords, USER, PASSWORD], check=True)
        config = self.folder / "mosquitto.conf"
        config.write_text(
            f"listener {self.port} 127.0.0.1\nallow_anonymous false\npassword_file {passwords}\n"
            f"max_inflight_messages 0\nset_tcp_nodelay true\n" + ("user root\n" if os.getuid() == 0 else "")
        )
        return [_which("mosquitto"), "-v", "-c", str(config)]


AMQTT = """
import asyncio, sys
from amqtt.broker import Broker

async def main(port, passwords):
    config = {
        "listeners": {"default": {"type": "tcp", "bind": "127.0.0.1:%d" % port, "max_connections": 50}},
        "plugins": {
            "amqtt.plugins.authentication.FileAuthPlugin": {"password_file": passwords},
        },
    }
    broker = Broker(config)
    await broker.start()
    await asyncio.Event().wait()

asyncio.run(main(int(sys.argv[1]), sys.argv[2]))
"""


class Amqtt(Broker):
    """The broker that `tidegate serve` embeds."""

    def command(self) -> list[str]:
        passwords = self.folder / "passwords"
        if not passwords.exists():
            from amqtt.contexts import BaseContext  # noqa: F401  (fails early and clearly without amqtt)
            from pwdlib.hashers.argon2 import Argon2Hasher

            passwords.write_text(f"{USER}:{Argon2Hasher().hash(PASSWORD)}\n")
        return [sys.executable, "-c", AMQTT, str(self.port), str(passwords)]


def _which(name: str) -> str:
    for folder in (*os.environ["PATH"].split(":"), "/usr/sbin"):
        if os.access(f"{folder}/{name}", os.X_OK):
            return f"{folder}/{name}"
    raise RuntimeError(f"{name} is not installed; apt-get install mosquitto mosquitto-clients")


# ---------------------------------------------------------------- nasty peers


class Served(socketserver.ThreadingTCPServer):
    """A TCP server in a thread; handle(socket) serves one connection."""

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 32

    def __init__(self, handle: Callable[[socket.socket], None]):
        serve = handle

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                with contextlib.suppress(OSError, EOFError, UnicodeError):
                    self.request.settimeout(30)
                    serve(self.request)

        super().__init__(("127.0.0.1", 0), Handler)
        self.port = self.server_address[1]
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self.shutdown()
        self.server_close()


def exactly(peer: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = peer.recv(size - len(data))
        if not part:
            raise EOFError
        data += part
    return data


def packet(peer: socket.socket) -> tuple[int, bytes]:
    """One MQTT packet: first byte, body."""
    kind = exactly(peer, 1)[0]
    size = shift = 0
    while True:
        byte = exactly(peer, 1)[0]
        size |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return kind, exactly(peer, size)


WELCOME = bytes.fromhex("20020000")

# What is said right after CONNECT; then the connection stays open, silent.
SAID = {
    "silent": b"",
    "garbage": b"HTTP/1.0 400 Bad Request\r\n\r\n",
    "connack-refused": bytes.fromhex("20020005"),
    "connack-code": bytes.fromhex("20020063"),
    "connack-flags": bytes.fromhex("20020800"),
    "connack-long": bytes.fromhex("2003000000"),
    "connack-kept": bytes.fromhex("20020100"),
    "connack-huge": bytes.fromhex("20ffffff7f"),
    "length-of-five": WELCOME + bytes.fromhex("30ffffffff01"),
    "stall": WELCOME + bytes.fromhex("3064000161") + b"x" * 10,
    "topic-beyond": WELCOME + bytes.fromhex("30050010616263"),
    "topic-empty": WELCOME + bytes.fromhex("30020000"),
    "no-topic": WELCOME + bytes.fromhex("300100"),
    "publish-empty": WELCOME + bytes.fromhex("3000"),
    "no-identifier": WELCOME + bytes.fromhex("3203000161"),
    "identifier-zero": WELCOME + bytes.fromhex("32050001610000"),
    "qos-2": WELCOME + bytes.fromhex("34050001610001"),
    "qos-3": WELCOME + bytes.fromhex("36050001610001"),
    "not-utf8": WELCOME + bytes.fromhex("30040002c328"),
    "wildcard": WELCOME + bytes.fromhex("30050003612f23"),
    "type-0": WELCOME + bytes.fromhex("0000"),
    "type-15": WELCOME + bytes.fromhex("f000"),
    "connect": WELCOME + bytes.fromhex("1000"),
    "connack-twice": WELCOME + WELCOME,
    "pubrec": WELCOME + bytes.fromhex("50020001"),
    "puback-short": WELCOME + bytes.fromhex("400101"),
    "puback-flags": WELCOME + bytes.fromhex("41020001"),
    "pong-unasked": WELCOME + bytes.fromhex("d000"),
    "pong-long": WELCOME + bytes.fromhex("d00100"),
    "suback-code": WELCOME + bytes.fromhex("9003000133"),
    "control-huge": WELCOME + bytes.fromhex("90ffff7f"),
    "oversized-qos-2": WELCOME + bytes.fromhex("34ffff7f000161"),
    "oversized-topic": WELCOME + bytes.fromhex("30804effff"),
    "eof-now": b"",
    "eof-connack": WELCOME[:3],
    "eof-idle": WELCOME,
    "eof-publish": WELCOME + bytes.fromhex("3064000161") + b"x" * 10,
}


class NastyBroker:
    """Behaves as the client identifier says; keeps a record of the PUBLISH packets it got, by identifier."""

    def __init__(self) -> None:
        self.record: dict[str, list[tuple[int, bytes]]] = {}
        self.server = Served(self._serve)

    def _serve(self, peer: socket.socket) -> None:
        _, hello = packet(peer)
        size = int.from_bytes(hello[10:12], "big")
        name = hello[12 : 12 + size].decode()
        visits = self.record.setdefault(name, [])
        first_visit = not visits
        visits.append((0, b"CONNECT"))
        scene = getattr(self, "_" + name.replace("-", "_"), None)
        if scene:
            peer.sendall(WELCOME)
            scene(peer, visits, first_visit)
            return
        peer.sendall(SAID[name])
        if not name.startswith("eof"):
            while peer.recv(4096):
                pass

    def _endless(self, peer: socket.socket, visits: list, first_visit: bool) -> None:
        """A legal message of 256 MiB that never ends."""
        peer.sendall(bytes.fromhex("30ffffff7f000161"))
        while True:
            peer.sendall(b"x" * 1000)
            time.sleep(0.01)

    def _drip(self, peer: socket.socket, visits: list, first_visit: bool) -> None:
        peer.sendall(bytes.fromhex("30ff07000161"))
        while True:
            peer.sendall(b"x")
            time.sleep(0.1)

    def _deaf(self, peer: socket.socket, visits: list, first_visit: bool) -> None:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        time.sleep(30)

    def _mute(self, peer: socket.socket, visits: list, first_visit: bool) -> None:
        """Acknowledges nothing."""
        while True:
            visits.append(packet(peer))

    def _no_puback(self, peer: socket.socket, visits: list, first_visit: bool) -> None:
        """Forgets each PUBLISH the first time; the second connection acknowledges."""
        self._serve_well(peer, visits, acknowledge=not first_visit)

    def _crash(self, peer: socket.socket, visits: list, first_visit: bool) -> None:
        """Takes three messages, acknowledges the first, and is gone; the second connection is a good one."""
        if not first_visit:
            self._serve_well(peer, visits)
            return
        for number in range(3):
            visits.append(packet(peer))
            if number == 0:
                peer.sendall(_puback(visits[-1][1]))

    def _backwards(self, peer: socket.socket, visits: list, first_visit: bool) -> None:
        """Acknowledges four messages at once, last first, and some that were never sent."""
        bodies = []
        while len(bodies) < 4:
            visits.append(packet(peer))
            bodies.append(visits[-1][1])
        peer.sendall(bytes.fromhex("4002fff0") + b"".join(map(_puback, reversed(bodies))))
        self._serve_well(peer, visits)

    def _oversized(self, peer: socket.socket, visits: list, first_visit: bool) -> None:
        """Too large with QoS 1, too large with QoS 0, then a small one; the acknowledgement is recorded."""
        body = bytes.fromhex("000161") + bytes.fromhex("0007") + b"x" * 20_000
        peer.sendall(b"\x32" + _length(len(body)) + body)
        body = bytes.fromhex("000161") + b"y" * 9_000
        peer.sendall(b"\x30" + _length(len(body)) + body)
        peer.sendall(bytes.fromhex("30050001617a7a"))
        self._serve_well(peer, visits)

    def _refuses(self, peer: socket.socket, visits: list, first_visit: bool) -> None:
        self._serve_well(peer, visits, granted=b"\x80")

    def _burst(self, peer: socket.socket, visits: list, first_visit: bool) -> None:
        """200 QoS 1 messages in one go, then keeps a record of the acknowledgements."""
        peer.sendall(
            b"".join(b"\x32\x07\x00\x01b" + n.to_bytes(2, "big") + n.to_bytes(2, "big") for n in range(1, 201))
        )
        self._serve_well(peer, visits)

    def _serve_well(self, peer: socket.socket, visits: list, acknowledge: bool = True, granted: bytes = b"") -> None:
        while True:
            kind, body = packet(peer)
            if kind == 0xC0:
                peer.sendall(b"\xd0\x00")
                continue
            visits.append((kind, body))
            if kind & 0xF6 == 0x32 and acknowledge:
                peer.sendall(_puback(body))
            elif kind == 0x82:
                peer.sendall(b"\x90\x03" + body[:2] + (granted or body[-1:]))


def _puback(body: bytes) -> bytes:
    at = 2 + int.from_bytes(body[:2], "big")
    return b"\x40\x02" + body[at : at + 2]


def _length(size: int) -> bytes:
    out = b""
    while size > 127:
        out += bytes([size & 127 | 128])
        size >>= 7
    return out + bytes([size])


# ---------------------------------------------------------------- HTTP

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


# ---------------------------------------------------------------- steering


class Control:
    """One line in, one line out: `VERB ARGUMENT...` -> `ok TEXT` or `error TEXT`."""

    def __init__(self, verbs: dict[str, Callable[..., object]]):
        self.verbs = verbs
        self.server = Served(self._serve)

    def _serve(self, peer: socket.socket) -> None:
        file = peer.makefile("rw", newline="\n")
        for line in file:
            verb, *arguments = line.split()
            try:
                answer = self.verbs[verb](*arguments)
                file.write("ok %s\n" % ("" if answer is None else answer))
            except Exception as error:
                file.write("error %r\n" % error)
            file.flush()


class Foreign:
    """mosquitto's own clients, against which the device's client is held."""

    def __init__(self, broker: Broker):
        self.login = ["-h", "127.0.0.1", "-p", str(broker.port), "-u", USER, "-P", PASSWORD]

    def publish(self, topic: str, qos: str, retain: str, payload: str) -> None:
        """payload in hex; "-" is empty."""
        command = ["mosquitto_pub", *self.login, "-t", topic, "-q", qos, "-s"]
        if retain == "1":
            command.append("-r")
        data = b"" if payload == "-" else bytes.fromhex(payload)
        if data:
            subprocess.run(command, input=data, check=True, timeout=10)
        else:
            subprocess.run(
                [*command[: -2 if retain == "1" else -1], *(["-r"] * (retain == "1")), "-n"], check=True, timeout=10
            )

    def next(self, topic: str) -> str:
        """The next (or the retained) message: `retained qos hex`; `-` if none came within 3 s."""
        command = ["mosquitto_sub", *self.login, "-t", topic, "-C", "1", "-W", "3", "-F", "%r %q %x"]
        return subprocess.run(command, capture_output=True, text=True, timeout=10).stdout.strip() or "-"


@contextlib.contextmanager
def mqtt(host: str, brokers: tuple[type[Broker], ...] = (Mosquitto, Amqtt)) -> Iterator[dict[str, str]]:
    """Everything test_mqtt.py meets; what it needs to know."""
    with tempfile.TemporaryDirectory(prefix="tidegate-broker-") as top, contextlib.ExitStack() as stack:
        running: dict[str, Broker] = {}
        for kind in brokers:
            folder = Path(top) / kind.__name__.lower()
            folder.mkdir()
            running[folder.name] = kind(folder)
            stack.callback(running[folder.name].kill)
            running[folder.name].start()
        nasty = NastyBroker()
        stack.callback(nasty.server.close)
        foreign = Foreign(running["mosquitto"])

        def record(name: str) -> str:
            return ",".join(f"{kind:02x}{body.hex()}" for kind, body in nasty.record.get(name, []))

        def bounce(name: str, seconds: str) -> None:
            """Kills the broker now; it is back after that many seconds."""
            running[name].kill()
            threading.Timer(float(seconds), running[name].start).start()

        control = Control(
            {
                "kill": lambda name: running[name].kill(),
                "start": lambda name: running[name].start(),
                "bounce": bounce,
                "pause": lambda name, seconds: running[name].pause(float(seconds)),
                "record": record,
                "publish": foreign.publish,
                "next": foreign.next,
            }
        )
        stack.callback(control.server.close)
        yield {
            "host": host,
            "control": str(control.server.port),
            "nasty": str(nasty.server.port),
            "user": USER,
            "password": PASSWORD,
            **{name: str(broker.port) for name, broker in running.items()},
        }


@contextlib.contextmanager
def http(host: str) -> Iterator[dict[str, str]]:
    """Everything test_httpget.py meets."""
    server = Http()
    try:
        yield {
            "host": host,
            "port": str(server.server.port),
            "nobody": str(free_port()),
            "size": str(len(BODY)),
            "sha256": hashlib.sha256(BODY).hexdigest(),
            "etag": ETAG,
        }
    finally:
        server.server.close()
