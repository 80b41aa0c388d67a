#!/usr/bin/env python3
"""Telemetry from the broker to the disk: what a message costs the server, beside a plain consumer, in one run.

    python bench/ingest.py [--ways mosquitto,workers,inside] [--databases sqlite,postgresql] [--messages N] [--check]

Devices flood packs of two values at QoS 1. The server files them as it always does: read strictly, known when they come
again, newest values and counts current, acknowledged after a durable commit. The plain consumer is what one writes in
an hour: paho, cbor2, the same tables, executemany of 500 rows a commit, just as durable, acknowledged on arrival.
Processor time (user and system) of each process is what counts: wall times of a busy machine say little. --check ends
with 1 where a message costs more than 1.5 times the consumer's. `workers` are four processes with a quarter of the
devices each (`tidegate serve --roles ingest --share N/4`), on PostgreSQL; the broker inside does mosquitto's work, too.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import sqlite3
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "server" / "support"), str(ROOT / "tools")]

from databases import postgresql  # noqa: E402
from mosquitto_process import Mosquitto, write_files  # noqa: E402

from ota_server.config import Config  # noqa: E402
from ota_server.first_start import prepare  # noqa: E402
from ota_server.security import password_hashes  # noqa: E402
from ota_server.store import migrate  # noqa: E402
from ota_server.store.models import Device  # noqa: E402
from tidegate.wire.cbor import dumps  # noqa: E402

PASSWORD = "a-password-of-the-bench"
TARGET = 1.5
WINDOW = 16  # packs of one device on their way
WORKERS = 4
PATIENCE_S = 180


@dataclass
class Figures:
    """Milliseconds of processor time a message."""

    way: str
    database: str
    filed: int
    lost: int
    per_s: float
    server_ms: float
    broker_ms: float

    def line(self, beside: float | None) -> str:
        ratio = "" if not beside else f"   {self.server_ms / beside:5.2f} of the consumer's"
        return (
            f"{self.way:<18} {self.database:<11} {self.filed:>7} filed, {self.lost} lost   {self.per_s:>7.0f}/s wall   "
            f"{self.server_ms:.3f} ms CPU{ratio}   broker {self.broker_ms:.3f} ms"
        )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ways", default="mosquitto,workers,inside", help="what files: mosquitto, workers, inside")
    parser.add_argument("--databases", default="sqlite,postgresql")
    parser.add_argument("--messages", type=int, default=30_000)
    parser.add_argument("--devices", type=int, default=200)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--check", action="store_true", help="end with 1 where the target is missed")
    parser.add_argument("--consume", nargs=3, metavar=("PORT", "PASSWORD", "DATABASE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.consume:
        return consume(int(options.consume[0]), options.consume[1], options.consume[2])
    found: list[Figures] = []
    missed = False
    for database in options.databases.split(","):
        beside = None
        for way in ("plain consumer", *options.ways.split(",")):
            if way == "workers" and database == "sqlite":
                continue  # SQLite's file belongs to one process
            figures = one_run(way, database, options.messages, options.devices)
            found.append(figures)
            if not options.json:
                print(figures.line(beside), flush=True)
            missed |= figures.lost > 0 or (beside is not None and figures.server_ms > TARGET * beside)
            beside = beside or figures.server_ms
    if options.json:
        print(json.dumps([vars(figures) for figures in found], indent=2))
    return int(options.check and missed)


def one_run(way: str, database: str, messages: int, devices: int) -> Figures:
    """Fill a new database one way."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tidegate-bench-")))
        url = stack.enter_context(postgresql(durable=True)) if database == "postgresql" else None
        environment = {**os.environ, **({"TIDEGATE_DATABASE_URL": url} if url else {})}
        names = [f"bench-{number:05d}" for number in range(devices)]
        data = folder / "data"
        _register(data, url, names)
        packs = _counter(url or str(data / "tidegate.db"))
        broker = None
        if way != "inside":
            # Only so the server's user is let in more than once.
            write_files(folder / "mosquitto", data, *(["--dynamic"] if way == "workers" else []), env=environment)
            broker = Mosquitto(folder / "mosquitto")
            stack.callback(broker.stop)
        if way == "plain consumer":
            password = (data / "broker.password").read_text().strip()
            arguments = [__file__, "--consume", str(broker.port), password, url or f"sqlite:///{data}/tidegate.db"]
            servers = [stack.enter_context(_process(arguments, environment))]
            if b"ready" not in servers[0].stdout.readline():
                raise SystemExit("the plain consumer did not start")
            port = broker.port
        else:
            serve = ["-m", "ota_server", "serve", "--data", str(data)]
            if broker is not None:
                serve += ["--broker", f"mqtt://tidegate_server@127.0.0.1:{broker.port}"]
            if way == "workers":
                shares = [f"{number}/{WORKERS}" for number in range(1, WORKERS + 1)]
                starts = {
                    f"serve-ingest-{share.replace('/', '-of-')}.json": [
                        "--dynamic",
                        "--roles",
                        "ingest",
                        "--share",
                        share,
                    ]
                    for share in shares
                }
            else:
                starts = {"serve.json": ["--http", "127.0.0.1:0", "--mqtt", "127.0.0.1:0"]}
            servers = [stack.enter_context(_process([*serve, *more], environment)) for more in starts.values()]
            _wait(lambda: all((data / name).exists() for name in starts))
            port = broker.port if broker else _port(data / "serve.json")
        time.sleep(2)
        each = messages // devices
        flooders = [_Flooder(name, each) for name in names]
        before, broker_before = _cpu_of(servers), _cpu(broker.process.pid) if broker else 0.0
        acknowledged, began = asyncio.run(_flood(port, flooders))
        with contextlib.suppress(TimeoutError):
            _wait(lambda: packs() >= acknowledged)
        took = time.monotonic() - began
        filed = packs()
        used, broker_used = _cpu_of(servers) - before, (_cpu(broker.process.pid) if broker else 0.0) - broker_before
        scale = 1000 / max(1, filed)
        return Figures(
            way,
            database,
            filed,
            acknowledged - filed,
            filed / took,
            round(used * scale, 4),
            round(broker_used * scale, 4),
        )


def _port(shown: Path) -> int:
    return int(json.loads(shown.read_text())["mqtt"].rpartition(":")[2])


@contextlib.contextmanager
def _process(arguments: list[str], environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, *arguments], env=environment, cwd=ROOT, stdout=subprocess.PIPE)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def _register(data: Path, url: str | None, names: list[str]) -> None:
    """Devices with one password, straight in the database: a bench does not measure how they enrol."""
    hashed = password_hashes.hashed(PASSWORD)
    with _environment({"TIDEGATE_DATABASE_URL": url} if url else {}):
        store = prepare(Config(data=data))
    with store.write() as session:
        session.add_all(Device(id=name, board="unix", product="p", password_hash=hashed) for name in names)
    store.close()


@contextlib.contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _counter(address: str) -> Callable[[], int]:
    """Counts the packs in the database, from outside."""
    query = "select coalesce(sum(packs), 0) from stream"
    if address.startswith("postgresql"):
        import psycopg

        connection: Any = psycopg.connect(address.replace("+psycopg", ""), autocommit=True)
    else:
        connection = sqlite3.connect(f"file:{address}?mode=ro", uri=True, timeout=60)
    return lambda: int(connection.execute(query).fetchone()[0])


def _wait(condition: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError
        time.sleep(0.1)


def _cpu(pid: int) -> float:
    """Seconds of processor time of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _cpu_of(processes: list[subprocess.Popen[bytes]]) -> float:
    return sum(_cpu(process.pid) for process in processes)


# ---------------------------------------------------------------- the devices


def _text(value: bytes) -> bytes:
    return struct.pack(">H", len(value)) + value


def _packet(head: int, body: bytes) -> bytes:
    size, left = bytearray(), len(body)
    while True:
        left, low = left >> 7, left & 127
        size.append(low | (128 if left else 0))
        if not left:
            return bytes([head]) + bytes(size) + body


class _Flooder(asyncio.Protocol):
    """One device: at most WINDOW packs on their way; `done` once all are acknowledged.

    Its packs are made before the clock runs: on two cores a flood takes from the server what it costs itself.
    """

    def __init__(self, name: str, count: int) -> None:
        self._name, self._count = name, count
        self._packs = [_pack(name, number) for number in range(1, count + 1)]
        self._sent = self._acknowledged = 0
        self._left = b""

    def connection_made(self, transport: Any) -> None:
        self.done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._transport = transport
        name = self._name.encode()
        body = _text(b"MQTT") + b"\x04\xc2\x02\x58" + _text(name) + _text(name) + _text(PASSWORD.encode())
        transport.write(_packet(0x10, body))

    def data_received(self, data: bytes) -> None:
        data = self._left + data
        for at in range(0, len(data) - 3, 4):  # CONNACK and PUBACK have four bytes
            if data[at] == 0x20:
                self.ready.set_result(None)
            else:
                self._acknowledged += 1
        self._left = data[len(data) // 4 * 4 :]
        if self._acknowledged == self._count and not self.done.done():
            self.done.set_result(self._count)
        elif self._acknowledged:
            self.send()

    def send(self) -> None:
        upto = min(self._count, self._acknowledged + WINDOW)
        if upto > self._sent:
            self._transport.write(b"".join(self._packs[self._sent : upto]))
            self._sent = upto

    def connection_lost(self, _error: Exception | None) -> None:
        if not self.done.done():
            self.done.set_result(self._acknowledged)


def _pack(name: str, number: int) -> bytes:
    """The PUBLISH of a pack with two values, at QoS 1."""
    values: list[dict[int, Any]] = [
        {-2: f"urn:dev:org:tidegate:{name}:", 0: "temperature", 1: "Cel", 2: 21.53 + number, -257: number},
        {0: "supply", 1: "V", 2: 3.3},
    ]
    topic = _text(f"tg/{name}/up/tele/env".encode())
    return _packet(0x32, topic + struct.pack(">H", number % 0xFFFF + 1) + dumps(values))


async def _flood(port: int, flooders: list[_Flooder]) -> tuple[int, float]:
    """Connect all, then send; returns how many packs were acknowledged, and when the first one was sent."""
    loop = asyncio.get_running_loop()
    for start in range(0, len(flooders), 20):
        some = flooders[start : start + 20]
        for flooder in some:
            await loop.create_connection(lambda flooder=flooder: flooder, "127.0.0.1", port)
        await asyncio.gather(*(flooder.ready for flooder in some))
    began = time.monotonic()
    for flooder in flooders:
        flooder.send()
    return sum(await asyncio.gather(*(flooder.done for flooder in flooders))), began


# ---------------------------------------------------------------- the plain consumer


def consume(port: int, password: str, url: str) -> int:
    """Subscribe, decode, insert 500 messages a commit. What it acknowledges is lost if it is killed before."""
    import queue

    import cbor2
    import paho.mqtt.client as paho
    from paho.mqtt.enums import CallbackAPIVersion
    from sqlalchemy import create_engine, text

    migrate(url)
    arrived: queue.SimpleQueue[Any] = queue.SimpleQueue()
    client = paho.Client(CallbackAPIVersion.VERSION2, client_id="tidegate_server")
    client.username_pw_set("tidegate_server", password)
    client.on_connect = lambda client, *_: client.subscribe("tg/+/up/#", 1)
    client.on_subscribe = lambda *_: print("ready", flush=True)
    client.on_message = lambda _client, _data, message: arrived.put((message.topic, message.payload))
    client.connect("127.0.0.1", port)
    client.loop_start()
    engine = create_engine(url)
    connection = engine.connect()
    if engine.dialect.name == "sqlite":
        for pragma in ("journal_mode=WAL", "synchronous=FULL"):
            connection.exec_driver_sql(f"PRAGMA {pragma}")
    series: dict[tuple[str, str, str], int] = {}
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    insert = text('INSERT INTO point (series_id, "at", number) VALUES (:series, :at, :number)')
    count = text("UPDATE stream SET packs = packs + :n WHERE device_id = :device AND name = :stream")
    while True:
        batch = [arrived.get()]
        while len(batch) < 500 and not arrived.empty():
            batch.append(arrived.get())
        rows, counts = [], {}
        for topic, payload in batch:
            _, device, _, _, stream = topic.split("/")
            now = time.time_ns() // 1_000_000
            counts[device, stream] = counts.get((device, stream), 0) + 1
            for record in cbor2.loads(payload):
                key = (device, stream, record[0])
                if key not in series:
                    series[key] = _new_series(connection, *key)
                rows.append({"series": series[key], "at": now, "number": record[2]})
        connection.execute(insert, rows)
        connection.execute(count, [{"n": n, "device": key[0], "stream": key[1]} for key, n in counts.items()])
        connection.commit()


def _new_series(connection: Any, device: str, stream: str, name: str) -> int:
    from sqlalchemy import text

    values = {"device": device, "stream": stream, "name": name}
    connection.execute(
        text(
            "INSERT INTO stream (device_id, name, at, packs, repeated, dropped, drop_mark, seen)"
            " VALUES (:device, :stream, 0, 0, 0, 0, 0, '') ON CONFLICT DO NOTHING"
        ),
        values,
    )
    made = text(
        "INSERT INTO series (device_id, stream, name, at, points) VALUES (:device, :stream, :name, 0, 0) RETURNING id"
    )
    return int(connection.execute(made, values).scalar_one())


if __name__ == "__main__":
    raise SystemExit(main())
