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
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import programs
from hostile_mqtt import NastyBroker
from hostile_mqtt5 import Fuzzer, NastyFive
from http_server import BODY, ETAG, Http
from patience import limit
from ports import PortTaken, free_port, on_free_port, says_taken
from tcp_server import Served

ROOT = Path(__file__).parents[3]
USER, PASSWORD = "gate-1", "tide and time"
START_S = 15.0


class Broker:
    """A broker process that can be killed and started again, on the port of its first start."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.port = 0
        self.process: subprocess.Popen | None = None

    def command(self, port: int) -> list[str]:
        raise NotImplementedError

    def start(self) -> None:
        if self.port:
            self._start(self.port)
        else:
            on_free_port(self._start)

    def _start(self, port: int) -> None:
        with (self.folder / "log").open("ab") as log:
            began = log.tell()
            process = subprocess.Popen(
                self.command(port), stdout=log, stderr=log, cwd=self.folder, env={**os.environ, "PYTHONPATH": str(ROOT)}
            )
        end = time.monotonic() + limit(START_S)
        while process.poll() is None and time.monotonic() < end:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                self.port, self.process = port, process
                return
            time.sleep(0.02)
        said = (self.folder / "log").read_bytes()[began:].decode(errors="replace")
        ended = process.poll() is not None
        process.kill()
        process.wait()
        raise (
            PortTaken(said)
            if ended and says_taken(said)
            else RuntimeError(f"the broker did not start:\n{said[-2000:]}")
        )

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
            self.process.wait(limit(10))
            self.process = None


class Mosquitto(Broker):
    """Debian's broker with a password file."""

    def command(self, port: int) -> list[str]:
        passwords = self.folder / "passwords"
        if not passwords.exists():
            subprocess.run([programs.require("mosquitto_passwd"), "-b", "-c", passwords, USER, PASSWORD], check=True)
        config = self.folder / "mosquitto.conf"
        config.write_text(
            f"listener {port} 127.0.0.1\nallow_anonymous false\npassword_file {passwords}\n"
            f"max_inflight_messages 0\nset_tcp_nodelay true\n" + ("user root\n" if os.getuid() == 0 else "")
        )
        return [programs.require("mosquitto"), "-v", "-c", str(config)]


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


EMBEDDED = """
import hmac, sys, threading
from ota_server.broker import Access, EmbeddedBroker
from ota_server.broker.access import Principal

class Everything(Principal):  # the client's libraries are tried with topics of all kinds
    def may_publish(self, topic):
        return True

    def may_subscribe(self, pattern):
        return True

class Anywhere(Access):
    def login(self, user, password, shown=None):
        return super().login(user, password, shown) and Everything(user, internal=True)

port, user, password = int(sys.argv[1]), sys.argv[2], sys.argv[3].encode()
access = Anywhere(user, lambda given: hmac.compare_digest(given, password), lambda user, given: False)
EmbeddedBroker("127.0.0.1", port, access).start()
threading.Event().wait()
"""


class Embedded(Broker):
    """The broker inside `tidegate serve`, alone; the user is the server's, who may do everything."""

    def command(self, port: int) -> list[str]:
        return [sys.executable, "-c", EMBEDDED, str(port), USER, PASSWORD]


class Amqtt(Broker):
    """A broker in Python that we did not write."""

    def command(self, port: int) -> list[str]:
        passwords = self.folder / "passwords"
        if not passwords.exists():
            from amqtt.contexts import BaseContext  # noqa: F401  (fails early and clearly without amqtt)
            from pwdlib.hashers.argon2 import Argon2Hasher

            passwords.write_text(f"{USER}:{Argon2Hasher().hash(PASSWORD)}\n")
        return [sys.executable, "-c", AMQTT, str(port), str(passwords)]


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
        command = [programs.require("mosquitto_pub"), *self.login, "-t", topic, "-q", qos, "-s"]
        if retain == "1":
            command.append("-r")
        data = b"" if payload == "-" else bytes.fromhex(payload)
        if data:
            subprocess.run(command, input=data, check=True, timeout=limit(10))
        else:
            subprocess.run(
                [*command[: -2 if retain == "1" else -1], *(["-r"] * (retain == "1")), "-n"],
                check=True,
                timeout=limit(10),
            )

    def next(self, topic: str) -> str:
        """The next (or the retained) message: `retained qos hex`; `-` if none came within 3 s."""
        command = [programs.require("mosquitto_sub"), *self.login, "-t", topic, "-C", "1", "-W", "3", "-F", "%r %q %x"]
        return subprocess.run(command, capture_output=True, text=True, timeout=limit(10)).stdout.strip() or "-"


@contextlib.contextmanager
def mqtt(host: str, brokers: tuple[type[Broker], ...] = (Mosquitto, Embedded, Amqtt)) -> Iterator[dict[str, str]]:
    """Everything test_mqtt.py meets; what it needs to know."""
    with tempfile.TemporaryDirectory(prefix="tidegate-broker-") as top, contextlib.ExitStack() as stack:
        running: dict[str, Broker] = {}
        for kind in brokers:
            folder = Path(top) / kind.__name__.lower()
            folder.mkdir()
            running[folder.name] = kind(folder)
            stack.callback(running[folder.name].kill)
            running[folder.name].start()
        nasty, five, fuzzer = NastyBroker(), NastyFive(), Fuzzer()
        for peer in (nasty, five, fuzzer):
            stack.callback(peer.server.close)
        verbs: dict[str, Callable[..., object]] = {}
        if "mosquitto" in running:
            foreign = Foreign(running["mosquitto"])
            verbs = {"publish": foreign.publish, "next": foreign.next}

        def record(name: str) -> str:
            found = nasty.record.get(name) or five.record.get(name, [])
            return ",".join(f"{kind:02x}{body.hex()}" for kind, body in found)

        def bounce(name: str, seconds: str) -> None:
            """Kills the broker now; it is back after that many seconds."""
            running[name].kill()
            threading.Timer(float(seconds), running[name].start).start()

        verbs["bounce"] = bounce
        verbs["pause"] = lambda name, seconds: running[name].pause(float(seconds))
        verbs["record"] = record
        control = Control(verbs)
        stack.callback(control.server.close)
        yield {
            "host": host,
            "control": str(control.server.port),
            "nasty": str(nasty.server.port),
            "five": str(five.server.port),
            "fuzzer": str(fuzzer.server.port),
            "user": USER,
            "password": PASSWORD,
            **{name: str(broker.port) for name, broker in running.items()},
        }


def mosquitto(host: str) -> contextlib.AbstractContextManager[dict[str, str]]:
    """Everything test_mqtt_v5.py and test_mqtt_large.py meet."""
    return mqtt(host, brokers=(Mosquitto,))


def nasty_mqtt(host: str) -> contextlib.AbstractContextManager[dict[str, str]]:
    """Everything test_mqtt_nasty.py meets: no real broker."""
    return mqtt(host, brokers=())


@contextlib.contextmanager
def http(host: str) -> Iterator[dict[str, str]]:
    """Everything test_http_client.py meets."""
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
