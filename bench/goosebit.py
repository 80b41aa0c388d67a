#!/usr/bin/env python3
"""A release to a fleet, here and by goosebit, in one run: what the server pays a device, and at rest.

    python bench/goosebit.py [--devices N] [--at-once N] [--json]

goosebit (https://github.com/UpstreamDataInc/goosebit) comes from the package index into build/goosebit on the first
run. Its devices speak hawkBit's DDI as SWUpdate does: they poll, send what they are, poll again, read the deployment,
report the start, fetch the file, report the end, and poll once more. Ours are those of `tidegate simulate` with
mosquitto. Both have SQLite, one server process, no TLS, and a file of the same size, which goosebit's devices fetch
whole and ours as a patch. Processor time of the server (and of mosquitto beside ours) is what counts.

At rest goosebit's devices poll once a minute, which is its default; ours hold a connection. So the last figure is what
the fleet costs a core while nothing happens: a poll's cost times the polls a second there, measured over 60 s here.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / folder) for folder in ("", "tests/server/support", "tests/faults/support", "tools", "bench")]

import fleet  # noqa: E402
import ingest  # noqa: E402
from ports import free_port  # noqa: E402

from tidegate.simulate import run  # noqa: E402

VERSION = "0.2.12"
HOME = ROOT / "build" / "goosebit"
FILE_BYTES = 20_000
POLL_S = 60  # goosebit's default, poll_time
REST_S = 60
PATIENCE_S = 60

SCENARIO = """\
[fleet]
image_bytes = 20000
sign_s = 0

[update]
apply_s = 0
restart_s = 0
trial_s = 0
interrupted = 0.0

[[phases]]
kind = "connect"
over_s = 2
timeout_s = 900

[[phases]]
kind = "idle"
seconds = {seconds}

[[phases]]
kind = "release"
key = "{key}"
patch = true
timeout_s = 1800
"""

# Run by goosebit's Python: its tables, a file for the boards of the fleet, and a rollout of it.
PREPARE = """
import asyncio, sys
from pathlib import Path
from tortoise import Tortoise
from goosebit.db.config import TORTOISE_CONF
from goosebit.db.models import Hardware, Rollout, Software, SoftwareImageFormat

async def main(path):
    await Tortoise.init(config=TORTOISE_CONF)
    await Tortoise.generate_schemas()
    board = await Hardware.create(model="bench", revision="1")
    size = path.stat().st_size
    software = await Software.create(
        uri=path.as_uri(), size=size, hash="0" * 40, version="1.0.1", image_format=SoftwareImageFormat.SWU)
    await software.compatibility.add(board)
    await Rollout.create(name="bench", feed="default", software=software)
    await Tortoise.close_connections()

asyncio.run(main(Path(sys.argv[1])))
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--devices", type=int, default=1000)
    parser.add_argument("--at-once", type=int, default=50, help="of goosebit's devices, so many at a time")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tidegate-goosebit-") as folder:
        theirs = goosebit(Path(folder) / "goosebit", options.devices, options.at_once)
        ours = tidegate(Path(folder) / "tidegate", options.devices)
    if options.json:
        print(json.dumps({"devices": options.devices, "goosebit": theirs, "tidegate": ours}, indent=2))
        return 0
    print(f"{options.devices} devices, SQLite, a file of {FILE_BYTES:,} bytes")
    for name, figures in (("goosebit " + VERSION, theirs), ("tidegate", ours)):
        print(
            f"{name:<16} {figures['ms_a_device']:>7.2f} ms CPU a device   all done in {figures['seconds']:>6.1f} s   "
            f"{figures['fetched']:>9,} bytes fetched   at rest {figures['rest']:.1%} of a core"
        )
    return 0


# ---------------------------------------------------------------- goosebit


def goosebit(folder: Path, devices: int, at_once: int) -> dict[str, Any]:
    """Figures of goosebit's server."""
    folder.mkdir()
    payload = folder / "update.swu"
    payload.write_bytes(os.urandom(FILE_BYTES))
    environment = {
        **os.environ,
        "GOOSEBIT_DB_URI": f"sqlite://{folder}/db.sqlite3",
        "GOOSEBIT_ARTIFACTS_DIR": str(folder),
        "GOOSEBIT_MAX_CONCURRENT_UPDATES": str(devices),
    }
    python = installed()
    subprocess.run([python, "-c", PREPARE, str(payload)], env=environment, cwd=folder, check=True)
    with serving(python, folder, environment) as (process, port):
        began, before = time.monotonic(), ingest._cpu(process.pid)
        fetched = asyncio.run(all_of(devices, at_once, partial(update, port)))
        took, used = time.monotonic() - began, ingest._cpu(process.pid) - before
        before = ingest._cpu(process.pid)
        asyncio.run(all_of(devices, at_once, partial(poll, port)))
        poll_s = (ingest._cpu(process.pid) - before) / devices
    return {
        "ms_a_device": round(1000 * used / devices, 2),
        "seconds": round(took, 1),
        "fetched": fetched,
        "poll_ms": round(1000 * poll_s, 2),
        "rest": round(devices / POLL_S * poll_s, 4),
    }


def installed() -> str:
    """goosebit's Python; installs it once."""
    python = HOME / "bin" / "python"
    if not (HOME / VERSION).exists():
        print(f"goosebit {VERSION} is installed in {HOME.relative_to(ROOT)}", file=sys.stderr)
        venv.create(HOME, with_pip=True, clear=True)
        subprocess.run([python, "-m", "pip", "install", "-qq", f"goosebit=={VERSION}"], check=True)
        (HOME / VERSION).touch()
    return str(python)


@contextlib.contextmanager
def serving(python: str, folder: Path, environment: dict[str, str]) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """goosebit by uvicorn, as its own container starts it, one process."""
    port = free_port()
    command = [python, "-m", "uvicorn", "goosebit:app", "--port", str(port), "--log-level", "warning"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, cwd=folder, stdout=log, stderr=log)
    try:
        end = time.monotonic() + PATIENCE_S
        while True:
            with contextlib.suppress(OSError):
                asyncio.run(Client(port).request("GET", "/DEFAULT/controller/v1/first"))
                break
            if process.poll() is not None or time.monotonic() > end:
                raise SystemExit(f"goosebit did not start: {(folder / 'log').read_text()[-2000:]}")
            time.sleep(0.2)
        yield process, port
    finally:
        process.terminate()
        process.wait(PATIENCE_S)


class Client:
    """Requests over one connection that is held, as SWUpdate's are."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def request(self, method: str, path: str, body: Any = None) -> bytes:
        """The answer's body. Raises RuntimeError where the status is not 200."""
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._streams
        content = b"" if body is None else json.dumps(body).encode()
        head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{self._port}\r\nContent-Length: {len(content)}\r\n"
        writer.write(head.encode() + b"Content-Type: application/json\r\n\r\n" + content)
        lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        lengths = [line.partition(":")[2] for line in lines if line.lower().startswith("content-length:")]
        answer = await reader.readexactly(int(lengths[0]) if lengths else 0)
        if lines[0].split()[1] != "200":
            raise RuntimeError(f"{method} {path}: {lines[0]} {answer.decode(errors='replace')[:500]}")
        return answer

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()


async def update(port: int, name: str) -> int:
    """One device, from its first poll to its last; the bytes that it fetched."""
    client, base = Client(port), f"/DEFAULT/controller/v1/{name}"
    try:
        await client.request("GET", base)
        facts = {"hw_boardname": "bench", "hw_revision": "1", "sw_version": "1.0.0"}
        await client.request("PUT", f"{base}/configData", {"id": "", "data": facts})
        links = json.loads(await client.request("GET", base))["_links"]
        deployment = "/" + links["deploymentBase"]["href"].split("/", 3)[3]
        number = json.loads(await client.request("GET", deployment))["id"]
        await client.request("POST", f"{deployment}/feedback", feedback(number, "proceeding", "none"))
        fetched = len(await client.request("GET", f"{base}/download"))
        await client.request("POST", f"{deployment}/feedback", feedback(number, "closed", "success"))
        await client.request("GET", base)
        return fetched
    finally:
        client.close()


def feedback(number: str, execution: str, finished: str) -> dict[str, Any]:
    status = {"execution": execution, "result": {"finished": finished}, "details": [""]}
    return {"id": number, "status": status}


async def all_of(devices: int, at_once: int, act: Callable[[str], Awaitable[int]]) -> int:
    """What `act` gives for each device, in sum."""
    places = asyncio.Semaphore(at_once)

    async def one(number: int) -> int:
        async with places:
            return await act(f"bench-{number:05d}")

    return sum(await asyncio.gather(*(one(number) for number in range(devices))))


async def poll(port: int, name: str) -> int:
    """Over a connection of its own: a minute later the last one has been closed."""
    client = Client(port)
    await client.request("GET", f"/DEFAULT/controller/v1/{name}")
    client.close()
    return 0


# ---------------------------------------------------------------- Tidegate


def tidegate(folder: Path, devices: int) -> dict[str, Any]:
    """Figures of our server with mosquitto: a device connects and is born, and takes a release over the whole way."""
    folder.mkdir()
    options = argparse.Namespace(
        devices=devices, rate=0, seconds=REST_S, processes=1, database="sqlite", broker="mosquitto"
    )
    document = fleet.simulate(folder, {}, options, SCENARIO)
    connect, rest, release = document["phases"]
    if run.failed(document):
        raise SystemExit(f"the simulation failed: {json.dumps(document['phases'], indent=2)}")

    def used(phase: dict[str, Any]) -> float:
        return sum(phase["processes"][name]["cpu_s"] for name in ("server", "mosquitto"))

    return {
        "ms_a_device": round(1000 * (used(connect) + used(release)) / devices, 2),
        "seconds": round(connect["seconds"] + release["seconds"], 1),
        "fetched": release["counts"]["bytes_fetched"],
        "rest": round(used(rest) / rest["seconds"], 4),
    }


if __name__ == "__main__":
    raise SystemExit(main())
