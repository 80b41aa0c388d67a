"""From a flashed board that is online to a signed update it keeps, with a real broker and server, whichever way it
reaches them. The board is the emulator's: a second of its time takes half a minute and more here, which brokers and
servers take for a dead board. So its keepalive is two hours (in its copy of the sources), and before the server is a
proxy that gathers requests; all else is as people have it.
"""

from __future__ import annotations

import contextlib
import json
import re
import time
from collections.abc import Iterator
from typing import Any

import application
from lab import Installation
from lab.console import RecordedConsole
from lab.pico_w import LabPicoW
from patient_proxy import PatientProxy

ONLINE_S = 900
UPDATE_S = 1800
COMMAND_S = 600
FAILED = ("failed", "refused")
_KEEPALIVE = "_KEEPALIVE_S = const(60)", "_KEEPALIVE_S = const(7200)"


def patient_keepalive(place: Installation) -> None:
    """Boards of this installation's copy of the sources may be slow."""
    path = place.source / "firmware" / "lib" / "gate" / "link" / "mqtt.py"
    text = path.read_text()
    assert _KEEPALIVE[0] in text
    path.write_text(text.replace(*_KEEPALIVE))


@contextlib.contextmanager
def patient_server(place: Installation, device: str) -> Iterator[None]:
    """The settings of a device that is not flashed yet name the proxy; it runs in the block."""
    path = place.folder / f"{device}.config.json"
    config = json.loads(path.read_text())
    host, port = re.findall(r"//(.*):(\d+)/", config["payloads"])[0]
    with PatientProxy(int(port)) as proxy:
        config["payloads"] = f"http://{host}:{proxy.port}/"
        path.write_text(json.dumps(config))
        yield


@contextlib.contextmanager
def cost(name: str, board: LabPicoW) -> Iterator[None]:
    """Says what a step took."""
    began, used = time.monotonic(), board.seconds_used()
    yield
    print(f"{name}: {board.seconds_used() - used:.0f} s of a processor for the board, "
          f"{time.monotonic() - began:.0f} s in all")  # fmt: skip


def wait_telemetry(place: Installation, device: str, console: RecordedConsole) -> None:
    """Until the server has what the application measures. console: where the board's lines are."""
    place.wait_running(device, "1.0.0", ONLINE_S)
    place.wait("telemetry", lambda: "free" in place.api.device(device)["telemetry"], ONLINE_S)
    free, used = application.wait_heap(console, ONLINE_S)
    print(f"heap: {free} bytes free, {used} in use")


def info(place: Installation, device: str) -> dict[str, Any]:
    """What the board answers the signed command `info`."""
    found = place.tidegate(
        "cmd", "send", device, "info", "--key", place.key("command"), "--wait", str(COMMAND_S), "--json"
    )
    told = json.loads(found)
    assert told["outcome"] == "done", told
    return told["result"]["answer"]


def update(
    place: Installation, device: str, console: RecordedConsole, version: str, previous: str, ends: str
) -> list[dict[str, Any]]:
    """Publishes a release with the application that is in the copy of the sources, and waits until the board reports
    `ends` of it; all that it reported. It fails at once if the board fails, which would try again by itself.
    """
    sequence = place.api.device(device)["sequence"] + 1
    before, since = place.last_report(device), len(console.lines)
    place.build(version, sequence, previous=previous)
    place.publish(version)
    try:
        place.wait(f"{ends} of {version}", lambda: phases(place, device, before) & {ends, *FAILED}, UPDATE_S)
    finally:
        said = console.lines[since:]
        print("\n".join(said))
    found = place.reports(device, before)
    assert not phases(place, device, before) & set(FAILED), found[-1]
    print(f"reports: {', '.join(report['phase'] for report in found)}; the patch: {place.index(version)['patches']}")
    print(f"least of the heap: {min(application.heaps(said), default=(0, 0))[0]} bytes free")
    return found


def phases(place: Installation, device: str, after: int) -> set[str]:
    """What the device reported since the report `after`."""
    return {report["phase"] for report in place.reports(device, after)}
