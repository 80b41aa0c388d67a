#!/usr/bin/env python3
"""A fleet on one machine: a birth storm, telemetry, and a release to all, beside a plain consumer of telemetry.

    python bench/fleet.py [--devices N] [--rate PACKS] [--seconds S] [--database postgresql] [--broker inside] [--json]

`tidegate simulate` plays the devices against `tidegate serve`. Processor time of each process (user and system, with
children) is what counts: wall times of a busy machine say little. The plain consumer is that of bench/ingest.py: paho,
cbor2, executemany of 500 rows a commit. Its flood fills its batches; a rate that leaves the server's half empty costs
more a pack, so the ratio is that of this rate. With 300 devices it takes two to three minutes on two cores.

At the end the packs that the broker acknowledged are compared with those that the database has, over all devices: 1 is
the exit code where one is missing.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / folder) for folder in ("", "tests/server/support", "tests/faults/support", "tools", "bench")]

import databases  # noqa: E402
import ingest  # noqa: E402
from killable_server import KillableServer  # noqa: E402
from mosquitto_process import Mosquitto, write_files  # noqa: E402
from server_process import KeyRing  # noqa: E402

from tidegate.simulate import accounts, run, scenario  # noqa: E402
from tidegate.trust import keys  # noqa: E402

SCENARIO = """\
[update]
apply_s = 0.5
restart_s = 0.5
trial_s = 0.5

[[phases]]
name = "birth storm"
kind = "connect"
over_s = 2
timeout_s = 900

[[phases]]
name = "outage"
kind = "reconnect"
over_s = 2
timeout_s = 900

[[phases]]
kind = "telemetry"
rate = {rate}
seconds = {seconds}

[[phases]]
kind = "release"
key = "{key}"
timeout_s = 1800
"""


PACKS = ("telemetry", "probe")  # kinds of messages that are packs


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--devices", type=int, default=300)
    parser.add_argument("--rate", type=float, default=500, help="packs a second")
    parser.add_argument("--seconds", type=float, default=20, help="of telemetry")
    parser.add_argument("--processes", type=int, default=1, help="of simulated devices")
    parser.add_argument("--database", choices=["sqlite", "postgresql"], default="sqlite")
    parser.add_argument("--broker", choices=["mosquitto", "inside"], default="mosquitto")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tidegate-fleet-") as folder, database(options.database) as env:
        document = simulate(Path(folder), env, options)
    beside = ingest.one_run("plain consumer", options.database, 20_000, 100)
    figures = ratios(document, beside.server_ms)
    if options.json:
        print(json.dumps({"figures": figures, "plain_consumer_ms": beside.server_ms, "simulation": document}, indent=2))
    else:
        show(figures, beside.server_ms, options)
        print("packs: {acknowledged} acknowledged, {filed} filed, {lost} lost".format(**document["packs"]))
    return 1 if run.failed(document) or document["packs"]["lost"] else 0


@contextlib.contextmanager
def database(kind: str) -> Iterator[dict[str, str]]:
    if kind == "sqlite":
        yield {}
        return
    with databases.postgresql(durable=True) as url:
        yield {"TIDEGATE_DATABASE_URL": url}


def simulate(folder: Path, env: dict[str, str], options: argparse.Namespace, text: str = SCENARIO) -> dict[str, Any]:
    """The document of `tidegate simulate`. text: the scenario, with places for the options and the release key."""
    ring = KeyRing(folder)
    keys.save(ring.release, folder / "release.jwk")
    filled = text.format(rate=float(options.rate), seconds=float(options.seconds), key=folder / "release.jwk")
    course = scenario.parse(filled, "the bench's scenario")
    names = accounts.names("sim", options.devices)
    # All devices are at one address here, which without a proxy may have 250 connections.
    usual = ("--trust", str(ring.trust), "--trusted-proxy", "127.0.0.1")
    server = KillableServer(folder / "data", *usual, env=env).start()
    with server.client() as api:
        accounts.prepare(api, names, course.fleet, folder / "devices.json", progress)
    watched: dict[str, int] = {}
    broker = None
    if options.broker == "mosquitto":
        server.stop()
        write_files(folder / "mosquitto", server.data, env={**os.environ, **env})
        broker = Mosquitto(folder / "mosquitto")
        port = broker.port
        watched["mosquitto"] = broker.process.pid
        more = ["--broker", f"mqtt://tidegate_server@127.0.0.1:{port}", "--mosquitto", str(folder / "mosquitto")]
        server = KillableServer(server.data, *usual, *more, env=env).start()
    else:
        port = server.mqtt_port
    try:
        setting = run.Setting(
            server=server.url,
            token=server.token,
            devices=options.devices,
            accounts=folder / "devices.json",
            processes=options.processes,
            broker=f"mqtt://127.0.0.1:{port}",
            watched={"server": server.process.pid, **watched},
        )
        document = run.run(setting, course, run.Ears(line=Line().show))
        document["packs"] = compared(document, env.get("TIDEGATE_DATABASE_URL", str(server.data / "tidegate.db")))
        return document
    finally:
        server.stop()
        if broker is not None:
            broker.stop()


def compared(document: dict[str, Any], address: str) -> dict[str, int]:
    """Packs acknowledged and filed, of all devices; the server has a while to file what is on its way."""
    kinds = [phase["messages"].get(kind, {}) for phase in document["phases"] for kind in PACKS]
    acknowledged, filed = sum(kind.get("acknowledged", 0) for kind in kinds), ingest._counter(address)
    with contextlib.suppress(TimeoutError):
        ingest._wait(lambda: filed() >= acknowledged)
    count = filed()
    return {"acknowledged": acknowledged, "filed": count, "lost": max(0, acknowledged - count)}


class Line:
    """How it goes, every few seconds, on stderr."""

    count = 0

    def show(self, text: str) -> None:
        if self.count % 20 == 0:
            print(text, file=sys.stderr, flush=True)
        self.count += 1


def progress(done: int, total: int, _device: str) -> None:
    if done % 500 == 0:
        print(f"{done} of {total} devices are registered", file=sys.stderr, flush=True)


def ratios(document: dict[str, Any], beside: float) -> list[dict[str, Any]]:
    """Milliseconds of processor time a device or a pack, by phase and process."""
    found = []
    for phase in document["phases"]:
        packs = phase["kind"] == "telemetry"
        count = phase["messages"].get("telemetry", {}).get("acknowledged", 0) if packs else document["devices"]
        for name, usage in phase["processes"].items():
            each = 1000 * usage["cpu_s"] / max(1, count)
            row = {
                "phase": phase["name"],
                "process": name,
                "each": "pack" if packs else "device",
                "cpu_ms": round(each, 3),
                "most_mib": usage["rss_most_mib"],
                "seconds": phase["seconds"],
                "ended": phase["ended"],
            }
            if packs and name == "server":
                row["of_the_consumer"] = round(each / beside, 2)
            found.append(row)
    return found


def show(figures: list[dict[str, Any]], beside: float, options: argparse.Namespace) -> None:
    print(f"{options.devices} devices, {options.broker}, {options.database}")
    for row in figures:
        ratio = f"   {row['of_the_consumer']} of the consumer's" if "of_the_consumer" in row else ""
        print(
            f"{row['phase']:<12} {row['process']:<12} {row['cpu_ms']:>8.3f} ms CPU a {row['each']:<6} "
            f"{row['most_mib']:>6.0f} MiB   {row['seconds']:>6.1f} s, {row['ended']}{ratio}"
        )
    print(f"plain consumer            {beside:>8.3f} ms CPU a pack")


if __name__ == "__main__":
    raise SystemExit(main())
