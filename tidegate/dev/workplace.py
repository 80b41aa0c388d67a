"""Where `tidegate dev`, `test` and `size --ram` work: folder, development keys, what a board is flashed with."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from tidegate.errors import TidegateError
from tidegate.files import write_atomic
from tidegate.flash.request import Request
from tidegate.project import Project
from tidegate.release import Release
from tidegate.trust import keys
from tidegate.trust import store as stores

TELEMETRY_S = 2


class Ports(Protocol):
    """Where a server on this machine listens."""

    http_port: int
    mqtt_port: int


class NoServer:
    """Ports that nobody listens on: a board that is tested or measured needs no server."""

    http_port = mqtt_port = 9


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """The session's folder, emptied but for its keys, and ours alone while it runs."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for entry in folder.iterdir():
            if entry.name != "keys":
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        yield
    except BlockingIOError:
        raise TidegateError(
            f"{folder} is in use: this command runs in this project already", "Stop the other one with Ctrl-C"
        ) from None
    finally:
        os.close(lock)


def development_keys(folder: Path, trust: Path) -> tuple[keys.Key, Path]:
    """The development keys, made once, and a trust store of them; returns the release key and the store."""
    folder.mkdir(mode=0o700, exist_ok=True)
    found = {}
    for role in ("release", "command", "root"):
        file = folder / f"{role}.jwk"
        if not file.exists():
            keys.save(keys.new(role, development=True), file, replace=True)
        found[role] = keys.load(file)
    write_atomic(trust, stores.encode(stores.make(found.values(), development=True)))
    return found["release"], trust


def request_for(
    project: Project, release: Release, folder: Path, device: str, host: str, ports: Ports, board: str | None = None
) -> Request:
    """What to flash a board of the release with. Its trust store and credentials are in `folder`; it reaches this
    machine at `host`. board: its name, where the release may be for several."""
    if board is None:
        (board,) = release.targets
    config = {
        "telemetry_period_s": TELEMETRY_S,
        **project.settings,
        "device": device,
        "product": project.product,
        "vendor": project.vendor,
        "board": board,
        "uplink": "mqtt",
        "mqtt": {"host": host, "port": ports.mqtt_port},
        "payloads": f"http://{host}:{ports.http_port}/",
    }
    write_atomic(folder / "config.json", json.dumps(config, indent=2).encode(), mode=0o600)
    return Request(
        board=project.sources.board(board),
        sources=project.sources,
        release=release,
        trust=folder / "trust.cbor",
        config=folder / "config.json",
        credentials=folder / "credentials.json",
    )
