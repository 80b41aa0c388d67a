#!/usr/bin/env python3
"""Bytes on the wire: Tidegate over MQTT and CoAP against the same as JSON over HTTP, and features against raw samples.

    python bench/wire.py [--json] [--check]

Every message is really sent, to a real Tidegate server or a real HTTP server (waitress), and counted where it passes:
TCP by what the kernel counts of the connection (TCP_INFO: segments and bytes both ways, lone acknowledgements
included), UDP by the datagrams. Headers are added as stated: 40 bytes a TCP segment, 28 a UDP datagram (IPv4, no
options). Packs are the device's own (bench/wire_packs.py). HTTP has the fewest headers that still work, a token among
them, as MQTT and CoAP have authentication, and goes out in one segment. The targets are about what a board has today:
MicroPython's `requests` opens a connection for each message and closes it. A client that keeps one open is shown
beside it. --check ends with 1 when a target is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "server" / "support")]

import raw_coap as raw  # noqa: E402
import waitress.server  # noqa: E402
from coap_device import mac, signed  # noqa: E402
from mqtt_device import Device  # noqa: E402
from server_process import BOARD, PRODUCT, ServerProcess  # noqa: E402

from tidegate.wire import senml  # noqa: E402

TCP_HEADER, UDP_HEADER = 40, 28
MESSAGES = 20  # of each kind; the figures are of one
PAUSE_S = 0.1  # longer than a delayed acknowledgement, so that none rides on the next message
DAY_S, PERIOD_S, PING_QUIET_S = 86400, 60, 30
TARGET_JSON, TARGET_RAW = 0.37, 0.08
DEVICE = "gate-7"
TOKEN = "tg_" + "x" * 43
_REQUESTS, _KEPT = "JSON over HTTP", "JSON over HTTP, kept open"
_TCP_INFO = struct.Struct("<120xQQII")  # bytes acknowledged, bytes received, segments out, segments in


@dataclass
class Traffic:
    """What passed, headers included. `packets` are segments or datagrams."""

    up: float = 0
    down: float = 0
    packets: float = 0

    @property
    def total(self) -> float:
        return self.up + self.down

    def __sub__(self, other: Traffic) -> Traffic:
        return Traffic(self.up - other.up, self.down - other.down, self.packets - other.packets)

    def __truediv__(self, count: int) -> Traffic:
        return Traffic(self.up / count, self.down / count, self.packets / count)


def of_tcp(sock: socket.socket) -> Traffic:
    """All that the connection has carried so far."""
    acked, received, out, into = _TCP_INFO.unpack(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size))
    # The kernel counts the SYN as a byte acknowledged.
    return Traffic(acked - 1 + TCP_HEADER * out, received + TCP_HEADER * into, out + into)


def packs() -> dict[str, list[bytes]]:
    script = [sys.executable, str(ROOT / "bench" / "wire_packs.py")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "firmware" / "lib")}
    told = subprocess.run(script, env=environment, check=True, capture_output=True, text=True).stdout
    return {name: [bytes.fromhex(pack) for pack in found] for name, found in json.loads(told).items()}


def as_json(pack: bytes) -> bytes:
    """What a program that speaks JSON would send of the same, without spaces."""
    now = 1_795_000_000
    records = []
    for record in senml.decode(pack, now):
        value = record["value"]
        entry = {"name": record["name"].rpartition(":")[2], "value": round(value, 3), "unit": record.get("unit")}
        if record["time"] != now:
            entry["time"] = round(record["time"], 1)
        records.append({key: item for key, item in entry.items() if item is not None})
    return json.dumps({"device": DEVICE, "time": now, "records": records}, separators=(",", ":")).encode()


# ---------------------------------------------------------------- senders: each gives (one-off traffic, a message's)


def over_mqtt(server: ServerProcess, password: str, bodies: list[bytes]) -> tuple[Traffic, Traffic]:
    device = Device(DEVICE, password, server.mqtt_port)
    device.online()
    time.sleep(PAUSE_S)
    sock: Any = device.client.socket()
    connected = of_tcp(sock)
    for body in bodies:
        device.say("tele/env", body)
        time.sleep(PAUSE_S)
    after = of_tcp(sock)
    device.leave()
    return connected, (after - connected) / len(bodies)


def mqtt_ping(server: ServerProcess, password: str) -> Traffic:
    """A keep-alive exchange, by hand: paho decides itself when to send one."""
    with socket.create_connection(("127.0.0.1", server.mqtt_port)) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        parts = [DEVICE.encode(), DEVICE.encode(), password.encode()]
        body = b"\x00\x04MQTT\x04\xc2\x00\x3c" + b"".join(struct.pack(">H", len(part)) + part for part in parts)
        sock.sendall(bytes((0x10, len(body))) + body)
        if sock.recv(16) != b"\x20\x02\x00\x00":
            raise SystemExit("the broker refuses the connection")
        time.sleep(PAUSE_S)
        before = of_tcp(sock)
        for _ in range(MESSAGES):
            sock.sendall(b"\xc0\x00")
            if sock.recv(16) != b"\xd0\x00":
                raise SystemExit("no answer to a ping")
            time.sleep(PAUSE_S)
        return (of_tcp(sock) - before) / MESSAGES


def over_coap(server: ServerProcess, key: bytes, bodies: list[bytes]) -> tuple[Traffic, Traffic]:
    assert server.coap is not None
    peer, path = raw.Peer(server.coap), f"tg/{DEVICE}/up/tele/env"

    def exchange(path: str, body: bytes, *options: tuple[int, bytes]) -> tuple[Traffic, raw.Answer]:
        sent = peer.send(raw.POST, path, body, *options)
        answer = peer.receive()
        return Traffic(sent + UDP_HEADER, answer.size + UDP_HEADER, 2), answer

    hello, answer = exchange(f"tg/{DEVICE}/up/birth", b"")
    echo = answer.options[raw.ECHO]
    session = mac(key, b"tidegate coap 1" + echo)
    first, answer = exchange(
        f"tg/{DEVICE}/up/state", signed(session, f"tg/{DEVICE}/up/state", 0, b"\xa1\x01\xf5"), (raw.ECHO, echo)
    )
    begun = Traffic(hello.up + first.up, hello.down + first.down, 4)
    total = Traffic()
    for counter, body in enumerate(bodies, 1):
        passed, answer = exchange(path, signed(session, path, counter, body))
        if answer.code != 2 << 5 | 4:
            raise SystemExit(f"the server refuses a message over CoAP: {answer}")
        total = Traffic(total.up + passed.up, total.down + passed.down, total.packets + 2)
    peer.close()
    return begun, total / len(bodies)


def over_http(port: int, bodies: list[bytes], keep: bool) -> tuple[Traffic, Traffic]:
    """With `keep` one connection for all, else one for each message."""
    connected, total = Traffic(), Traffic()
    sock: socket.socket | None = None
    for body in bodies:
        if sock is None:
            sock = socket.create_connection(("127.0.0.1", port))
            time.sleep(PAUSE_S)
            connected = of_tcp(sock)
        before = of_tcp(sock) if keep else Traffic()
        lines = [
            "POST /telemetry HTTP/1.1",
            "Host: 192.0.2.10:8080",
            "Content-Type: application/json",
            f"Content-Length: {len(body)}",
            f"Authorization: Bearer {TOKEN}",
        ]
        lines += [] if keep else ["Connection: close"]
        sock.sendall("\r\n".join([*lines, "", ""]).encode() + body)  # one segment, as a thrifty client would
        answer = b""
        while piece := sock.recv(4096):
            answer += piece
            if keep and answer.endswith(b"\r\n\r\n"):
                break
        if not answer.startswith(b"HTTP/1.1 200"):
            raise SystemExit(f"the HTTP server refuses a message: {answer!r}")
        time.sleep(PAUSE_S)
        passed = of_tcp(sock) - before
        if not keep:
            sock.close()
            sock = None
            # Our FIN and its acknowledgement: they pass after the last look at the connection.
            passed = Traffic(passed.up + TCP_HEADER, passed.down + TCP_HEADER, passed.packets + 2)
        total = Traffic(total.up + passed.up, total.down + passed.down, total.packets + passed.packets)
    if sock is not None:
        sock.close()
    return connected if keep else Traffic(), total / len(bodies)


@contextmanager
def http_server() -> Iterator[int]:
    """A WSGI application that takes JSON in, under the server that Tidegate itself runs under; gives its port."""

    def application(environ: dict[str, Any], start: Callable[..., Any]) -> list[bytes]:
        body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
        good = environ["HTTP_AUTHORIZATION"] == f"Bearer {TOKEN}" and json.loads(body)["device"] == DEVICE
        start("200 OK" if good else "400 Bad Request", [("Content-Length", "0")])
        return []

    server = waitress.server.create_server(application, host="127.0.0.1", port=0, threads=2, ident=None)
    threading.Thread(target=server.run, daemon=True).start()
    yield server.effective_port
    server.close()


# ---------------------------------------------------------------- what is compared


def numbered(pack: bytes, count: int) -> list[bytes]:
    """The pack with `count` numbers, so that none is taken for a repetition of another."""
    mark = bytes.fromhex("3901001a2a3b4c5d")
    if mark not in pack:
        raise SystemExit("the pack has not the number it was given")
    return [pack.replace(mark, mark[:4] + struct.pack(">I", 0x2A000000 + number)) for number in range(count)]


def measure(server: ServerProcess, http_port: int) -> dict[str, Any]:
    body = {"id": DEVICE, "board": BOARD, "product": PRODUCT}
    secrets = server.api("POST", "/devices", json=body)
    password, key = secrets["mqtt"]["password"], bytes.fromhex(secrets["coap"]["key"])
    made = packs()
    result: dict[str, Any] = {"messages": {}}
    once: dict[str, Traffic] = {}
    for name, title in (("env", "small telemetry message"), ("features", "features of 10 s of the bus")):
        pack = made[name][0]
        bodies, texts = numbered(pack, MESSAGES), [as_json(pack)] * MESSAGES
        rows: dict[str, Traffic] = {}
        once["MQTT"], rows["MQTT"] = over_mqtt(server, password, bodies)
        once["CoAP"], rows["CoAP"] = over_coap(server, key, bodies)
        once[_REQUESTS], rows[_REQUESTS] = over_http(http_port, texts, keep=False)
        once[_KEPT], rows[_KEPT] = over_http(http_port, texts, keep=True)
        result["messages"][title] = {"pack": len(pack), "json": len(texts[0]), "wire": rows}
    sent = {
        name: over_mqtt(server, password, made[name])[1].total * len(made[name])
        for name in ("features", "raw", "batch")
    }
    small = result["messages"]["small telemetry message"]["wire"]
    ping = mqtt_ping(server, password)
    each = DAY_S // PERIOD_S
    result["day"] = {
        way: round(once[way].total + each * small[way].total + (each * ping.total if way == "MQTT" else 0))
        for way in small
    }
    result["features"] = {name: round(total) for name, total in sent.items()}
    result["ping"] = ping.total
    result["ratios"] = {
        "MQTT against JSON over HTTP": small["MQTT"].total / small[_REQUESTS].total,
        "CoAP against JSON over HTTP": small["CoAP"].total / small[_REQUESTS].total,
        "MQTT against JSON over HTTP, kept open": small["MQTT"].total / small[_KEPT].total,
        "CoAP against JSON over HTTP, kept open": small["CoAP"].total / small[_KEPT].total,
        "features against raw": sent["features"] / sent["raw"],
        "features against raw in batches": sent["features"] / sent["batch"],
    }
    limits = {"MQTT against JSON over HTTP": TARGET_JSON, "CoAP against JSON over HTTP": TARGET_JSON}
    limits["features against raw"] = TARGET_RAW
    result["targets"] = {
        name: {"at_most": limit, "held": result["ratios"][name] <= limit} for name, limit in limits.items()
    }
    return result


def show(result: dict[str, Any]) -> None:
    for title, facts in result["messages"].items():
        print(
            f"{title}: {facts['pack']} bytes of SenML in CBOR, {facts['json']} of JSON; on the wire, headers included"
        )
        reference = facts["wire"][_REQUESTS].total
        for way, passed in facts["wire"].items():
            share = passed.total / reference
            print(
                f"  {way:28} up {passed.up:6.0f}  down {passed.down:5.0f}  packets {passed.packets:4.1f}"
                f"  total {passed.total:6.0f}  {share:6.1%}"
            )
        print()
    print(
        f"a day, one small message every {PERIOD_S} s; with connection and keep-alive (a ping is {result['ping']:.0f})"
    )
    for way, total in result["day"].items():
        print(f"  {way:28} {total / 1000:8.1f} kB")
    print("\n10 s of the 5 Hz bus over MQTT, headers included")
    names = {"features": "features", "raw": "each sample as it is taken", "batch": "samples, 63 records a message"}
    for name, total in result["features"].items():
        print(f"  {names[name]:30} {total:7} bytes")
    print()
    for name, ratio in result["ratios"].items():
        target = result["targets"].get(name)
        verdict = (
            f"   target: at most {target['at_most']:.0%}, {'held' if target['held'] else 'MISSED'}" if target else ""
        )
        print(f"  {name:46} {ratio:6.1%}{verdict}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="Answer in JSON.")
    parser.add_argument("--check", action="store_true", help="Exit code 1 when a target is missed.")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, http_server() as http_port:
        server = ServerProcess(Path(folder) / "data", "--coap", "127.0.0.1:0")
        try:
            result = measure(server, http_port)
        finally:
            server.stop()
    if options.json:
        print(json.dumps(result, indent=2, default=lambda passed: {**vars(passed), "total": passed.total}))
    else:
        show(result)
    return 1 if options.check and not all(target["held"] for target in result["targets"].values()) else 0


if __name__ == "__main__":
    sys.exit(main())
