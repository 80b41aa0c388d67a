"""`tidegate device wait`: until the server says that a device is there, or that it runs a version."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from tidegate.cli._common import Number, complain, connect, emit, json_option, say, server_options, update_phase
from tidegate.cli._device_names import device_argument
from tidegate.client.server import Server
from tidegate.client.transport import ServerError
from tidegate.errors import TidegateError
from tidegate.visible import visible

POLL_S = 1.0
_LONGEST_S = 7 * 86400
_NOT_FOUND = 404


@click.command(
    epilog="""\b
Exit codes: 0 it is so, 1 it was not in time.

\b
Examples:
  tidegate device wait gate-7
  tidegate device wait gate-7 --version 1.0.1 --timeout 600
  tidegate device wait gate-7 --online --version 1.0.1 --json"""
)
@device_argument
@click.option("--online", is_flag=True, help="Until it is online; so it is where no other condition is given.")
@click.option("--version", help="Until it runs this version, and its trial is over.")
@click.option(
    "--timeout",
    "timeout_s",
    type=Number(0, _LONGEST_S),
    default=120,
    show_default=True,
    help="Seconds after which it is too late; 0 looks once.",
)
@server_options
@json_option
def wait(
    device_id: str,
    online: bool,
    version: str | None,
    timeout_s: float,
    server: str,
    token_file: Path | None,
    as_json: bool,
) -> None:
    """Wait until device ID (or its name) is online, or runs a version. It need not be registered yet."""
    end = time.monotonic() + timeout_s
    online = online or version is None
    before = ""
    with connect(server, token_file) as api:
        while True:
            entry = _look(api, device_id)
            state = _state(device_id, entry)
            if entry is not None and _is_so(entry, online, version):
                break
            left = end - time.monotonic()
            if left <= 0:
                raise TidegateError(
                    f"{state}, after {timeout_s:g} s",
                    f"Look: tidegate device timeline {device_id}. To wait longer, give --timeout",
                )
            if state != before and not as_json:
                complain(f"{visible(state)}; waiting")
            before = state
            time.sleep(min(POLL_S, left))
    emit(entry, as_json, lambda _: say(visible(state)))


def _look(api: Server, device_id: str) -> dict[str, Any] | None:
    """The device as the server has it; None: the server does not know it."""
    try:
        return api.device(device_id)
    except ServerError as error:
        if error.status == _NOT_FOUND:
            return None
        raise


def _is_so(entry: dict[str, Any], online: bool, version: str | None) -> bool:
    if online and not entry.get("online"):
        return False
    return version is None or (entry.get("version") == version and not entry.get("trial"))


def _state(device_id: str, entry: dict[str, Any] | None) -> str:
    if entry is None:
        return f"{device_id} is not a device of the server"
    if entry.get("revoked"):
        return f"{device_id} is revoked"
    runs = f"runs {entry['version']}{' on trial' if entry.get('trial') else ''}" if entry.get("version") else "is new"
    phase = update_phase((entry.get("update") or {}).get("phase"))
    update = f" (its update: {phase})" if phase else ""
    return f"{device_id} is {'online' if entry.get('online') else 'offline'} and {runs}{update}"
