#!/usr/bin/env python3
"""What slow clients and bodies of nobody do to HTTP servers: ours, and well-kept ones with the same application.

    pip install granian cheroot gunicorn hypercorn
    python bench/http_servers.py [--json] [--only NAME]

Each server has two processes where it can (ours has one), eight threads, TLS, and a WSGI application that answers 200
bytes. All slow clients come from one address, the good requests from another. docs/decisions/0051 reads the table.

  ms            CPU of a small GET over a connection of its own, with its handshake
  half hellos   200 half ClientHellos: KiB of memory each; does a good request get its answer within 5 s
  half heads    200 heads, a byte every 2 s: the same question, and how many the server has closed after 25 s
  half bodies   50 small bodies that the application reads, of which one byte comes: the same question
  bodies        40 bodies of nobody's, of which 3.9 of 4 MiB come: KiB of memory each; the same question
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tidegate.trust import certificates

APP = """
def app(environ, start_response):
    if environ["PATH_INFO"] == "/read":
        environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
    elif environ["REQUEST_METHOD"] == "PUT":
        start_response("401 Unauthorized", [("Content-Length", "0")])
        return [b""]
    start_response("200 OK", [("Content-Length", "200"), ("Content-Type", "text/plain")])
    return [b"x" * 200]
"""
OURS = """
import ssl, threading
from app import app
from ota_server.http.server import HttpServer
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("server.crt", "server.key")
HttpServer(app, "127.0.0.1", PORT, 4 << 20, context).run()
"""
CHEROOT = """
from cheroot import wsgi
from cheroot.ssl.builtin import BuiltinSSLAdapter
from app import app
server = wsgi.Server(("127.0.0.1", PORT), app, numthreads=8, timeout=10)
server.ssl_adapter = BuiltinSSLAdapter("server.crt", "server.key")
server.max_request_body_size = 4 << 20
server.safe_start()
"""
TLS_FILES = ("server.crt", "server.key")


def commands(port: int) -> dict[str, list[str]]:
    at, python = f"127.0.0.1:{port}", sys.executable
    crt, key = TLS_FILES
    return {
        "ours": [python, "-c", OURS.replace("PORT", str(port))],
        "cheroot": [python, "-c", CHEROOT.replace("PORT", str(port))],
        "gunicorn": [python, "-m", "gunicorn", "-k", "gthread", "-w", "2", "--threads", "4", "-b", at]
        + ["--certfile", crt, "--keyfile", key, "--timeout", "15", "app:app"],
        "granian": [python, "-m", "granian", "--interface", "wsgi", "--workers", "2", "--blocking-threads", "4"]
        + ["--host", "127.0.0.1", "--port", str(port), "--ssl-certificate", crt, "--ssl-keyfile", key]
        + ["--http1-header-read-timeout", "15000", "--no-access-log", "app:app"],
        "hypercorn": [python, "-m", "hypercorn", "-w", "2", "-b", at, "--certfile", crt, "--keyfile", key, "app:app"],
    }


class Running:
    """A server in a session of its own."""

    def __init__(self, name: str, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        root = str(Path(__file__).resolve().parent.parent)
        places = [str(folder), root, os.environ.get("PYTHONPATH", "")]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(places)}
        with (folder / f"{name}.log").open("wb") as log:
            self.process = subprocess.Popen(
                commands(self.port)[name], cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True
            )
        end = time.monotonic() + 30
        while self.good() is None:
            if time.monotonic() > end or self.process.poll() is not None:
                raise RuntimeError(f"{name} did not start: {(folder / f'{name}.log').read_text()[-800:]}")
            time.sleep(0.2)

    def good(self) -> float | None:
        """The seconds until a good request has its answer; None for none within 5 s."""
        began = time.monotonic()
        with contextlib.suppress(OSError), self.connect("127.0.0.2", 5) as one:
            one.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            got = b""
            while data := one.recv(4096):
                got += data
            if b" 200 " in got.split(b"\r\n")[0]:
                return time.monotonic() - began
        return None

    def connect(self, source: str, timeout_s: float = 20) -> ssl.SSLSocket:
        plain = socket.create_connection(("127.0.0.1", self.port), timeout_s, source_address=(source, 0))
        return client().wrap_socket(plain)

    def processes(self) -> list[int]:
        found = []
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError, ValueError):
                if os.getsid(int(entry.name)) == self.process.pid:
                    found.append(int(entry.name))
        return found

    def memory_kib(self) -> int:
        total = 0
        for pid in self.processes():
            with contextlib.suppress(OSError):
                text = Path(f"/proc/{pid}/status").read_text()
                total += int(text.partition("VmRSS:")[2].split()[0])
        return total

    def cpu_s(self) -> float:
        total = 0.0
        for pid in self.processes():
            with contextlib.suppress(OSError):
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        return total

    def stop(self) -> None:
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(5)


def client() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def hello() -> bytes:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        client().wrap_bio(incoming, outgoing).do_handshake()
    return outgoing.read()


@contextlib.contextmanager
def closing() -> Iterator[list[socket.socket]]:
    sockets: list[socket.socket] = []
    try:
        yield sockets
    finally:
        for one in sockets:
            with contextlib.suppress(OSError):
                one.close()


def measure(name: str, folder: Path) -> dict[str, Any]:
    server = Running(name, folder)
    try:
        before, asked = server.cpu_s(), 100
        for _ in range(asked):
            server.good()
        found: dict[str, Any] = {"ms": round((server.cpu_s() - before) / asked * 1000, 2)}
        with closing() as slow:
            memory = server.memory_kib()
            with contextlib.suppress(OSError):  # one that takes no more connections has been stopped
                for _ in range(200):
                    slow.append(socket.create_connection(("127.0.0.1", server.port), 2))
                    slow[-1].sendall(hello()[:100])
            time.sleep(1)
            found["half_hellos"] = {"kib": (server.memory_kib() - memory) // len(slow), "good": answers(server)}
        time.sleep(1)
        with closing() as slow:
            memory = server.memory_kib()
            for _ in range(40):
                with contextlib.suppress(OSError):
                    one = server.connect("127.0.0.1", 3)
                    slow.append(one)
                    one.sendall(b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (4 << 20))
                    one.sendall(bytes((4 << 20) - 100_000))
            found["bodies"] = {"kib": (server.memory_kib() - memory) // 40, "good": answers(server)}
        time.sleep(1)
        with closing() as slow:
            with contextlib.suppress(OSError):
                for _ in range(50):
                    slow.append(server.connect("127.0.0.1", 5))
                    slow[-1].sendall(b"PUT /read HTTP/1.1\r\nHost: x\r\nContent-Length: 9000\r\n\r\nx")
            found["half_bodies"] = {"opened": len(slow), "good": answers(server)}
        time.sleep(1)
        with closing() as slow:
            with contextlib.suppress(OSError):
                for _ in range(200):
                    slow.append(server.connect("127.0.0.1", 5))
                    slow[-1].sendall(b"GET / HTTP/1.1\r\nX: ")
            opened, good = len(slow), True
            for turn in range(12):
                for one in list(slow):
                    try:
                        one.sendall(b"x")
                    except OSError:
                        slow.remove(one)
                good = good and (turn % 4 != 1 or answers(server))
                time.sleep(2)
            found["half_heads"] = {"opened": opened, "closed": opened - len(slow), "good": good}
        return found
    finally:
        server.stop()


def answers(server: Running) -> bool:
    return all(server.good() is not None for _ in range(3))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--only", choices=list(commands(0)))
    options = parser.parse_args()
    found = {}
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        (folder / "app.py").write_text(APP)
        issued = certificates.issue_server(certificates.authority("bench"), ["127.0.0.1"])
        issued.save(folder / TLS_FILES[0], folder / TLS_FILES[1])
        for name in [options.only] if options.only else commands(0):
            try:
                found[name] = measure(name, folder)
            except RuntimeError as error:
                found[name] = {"error": str(error)}
            if not options.json:
                print(f"{name:<10} {json.dumps(found[name])}", flush=True)
    if options.json:
        print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
