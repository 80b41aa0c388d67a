"""A whole run: accounts, processes, phases, and the document with the figures."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tidegate.client import plain_addresses
from tidegate.client.server import Server
from tidegate.client.transport import ServerError
from tidegate.errors import TidegateError
from tidegate.simulate import accounts, images, results, worker
from tidegate.simulate import nature as natures
from tidegate.simulate.course import Course
from tidegate.simulate.crew import Crew
from tidegate.simulate.scenario import Scenario
from tidegate.simulate.shown import Shown

_FILES_BESIDE = 64  # open files that are no board's
_FILED_S = 60
_SCHEMES = {"mqtt": 1883, "mqtts": 8883}


@dataclass(frozen=True)
class Setting:
    """Where and with whom. broker: mqtt:// or mqtts:// URL, None for the server's host at the usual port; watched:
    {name: pid}; trust: a trust store that offers are verified with."""

    server: str
    token: str
    devices: int
    accounts: Path
    prefix: str = "sim"
    processes: int = 1
    broker: str | None = None
    ca: Path | None = None
    trust: Path | None = None
    insecure: bool = False
    watched: dict[str, int] = field(default_factory=dict)


@dataclass
class Ears:
    """Who hears how it goes. registering(done, total, device); line(text): the live line."""

    registering: Callable[[int, int, str], None] = lambda done, total, device: None
    line: Callable[[str], None] = lambda text: None


def run(setting: Setting, scenario: Scenario, ears: Ears) -> dict[str, Any]:
    """Run the scenario; the document with its figures. Ctrl-C ends it, and what was measured so far is in there."""
    broker, tls = broker_address(setting)
    _check_files(setting)
    names = accounts.names(setting.prefix, setting.devices)
    with Server(setting.server, setting.token, ca=setting.ca, insecure=setting.insecure) as server:
        known = accounts.prepare(server, names, scenario.fleet, setting.accounts, ears.registering)
        running = images.newest(server, scenario.fleet, scenario.seed)
        tasks = [
            worker.Task(
                scenario=scenario,
                accounts=known[number :: setting.processes],
                running=running,
                broker=broker,
                broker_tls=tls,
                server=setting.server,
                ca=setting.ca,
                trust=setting.trust,
                token=setting.token if number == 0 else None,
            )
            for number in range(setting.processes)
        ]
        unsteady = [name for name in names if natures.of(scenario, name).fault == "bad_link"]
        shown = Shown(server, names, scenario.seed, unsteady)
        shown.note_packs()
        began, interrupted = time.monotonic(), False
        filed: dict[str, Any] | None = None
        with Crew(tasks) as crew:
            watched = {**setting.watched, **{f"simulator {n}": pid for n, pid in enumerate(crew.pids, 1)}}
            course = Course(scenario, names, server, crew, shown, running, watched, ears.line)
            try:
                course.run()
                ears.line("looking for what was acknowledged")
                filed = shown.filed(crew.packs(), _FILED_S)
            except KeyboardInterrupt:
                interrupted = True
            except ServerError as error:
                if not course.results:
                    raise
                filed = {"error": error.message}
    return {
        "server": setting.server,
        "devices": setting.devices,
        "seed": scenario.seed,
        "faults": dict(worker.faults(scenario, names)),
        "seconds": round(time.monotonic() - began, 2),
        "interrupted": interrupted,
        "complete": not interrupted and all(one.complete for one in course.results),
        "phases": [results.phase(one) for one in course.results],
        "filed": filed,
    }


def broker_address(setting: Setting) -> tuple[tuple[str, int], bool]:
    """((host, port), whether over TLS) of the broker."""
    site = urlsplit(setting.server if "://" in setting.server else f"http://{setting.server}")
    url = setting.broker or f"{'mqtts' if site.scheme == 'https' else 'mqtt'}://{_host(site.hostname or '')}"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if parts.scheme not in _SCHEMES or not parts.hostname or parts.path.strip("/") or parts.username:
        raise TidegateError(f"{url!r} is not a broker's address", "Write it like mqtt://127.0.0.1:1883")
    plain_addresses.check(url, parts.scheme, parts.hostname, setting.insecure, "the devices' passwords")
    return (parts.hostname, port or _SCHEMES[parts.scheme]), parts.scheme == "mqtts"


def _host(name: str) -> str:
    return f"[{name}]" if ":" in name else name


def _check_files(setting: Setting) -> None:
    each = -(-setting.devices // setting.processes)
    allowed = worker.allow_connections()
    if each + _FILES_BESIDE > allowed:
        raise TidegateError(
            f"{each} devices in one process need {each + _FILES_BESIDE} open files, and it may have {allowed}",
            f"Use --processes {-(-setting.devices // max(1, allowed - _FILES_BESIDE))}, or raise ulimit -n",
        )


def failed(document: dict[str, Any]) -> Sequence[str]:
    """Why a run was not as it should be: sentences, none if it was."""
    found = [f"{one['name']}: {one['ended']}" for one in document["phases"] if not one["complete"]]
    filed = document["filed"] or {}
    if filed.get("lost"):
        found.append(f"{filed['lost']} packs were acknowledged and are not filed")
    if "error" in filed:
        found.append(filed["error"])
    return found


def default_accounts() -> Path:
    """In the folder one is in: it belongs to one server."""
    return Path(os.curdir) / "simulated-devices.json"
