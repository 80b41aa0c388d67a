"""`tidegate device`: the devices of a server."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from tidegate.cli import _command_output
from tidegate.cli._common import connect, emit, facts, json_option, rows, server_options, update_phase
from tidegate.cli._device_filters import Filters, filter_options
from tidegate.cli._device_names import device_argument
from tidegate.cli._labels import label
from tidegate.cli.add import add
from tidegate.cli.claim import claim, claims, rename, revoke, set_, unclaim
from tidegate.cli.group import move
from tidegate.cli.known import known
from tidegate.cli.telemetry import telemetry
from tidegate.cli.timeline import timeline
from tidegate.cli.wait import wait
from tidegate.wire.messages import WAITING

_COLUMNS = {
    "id": "DEVICE",
    "name": "NAME",
    "board": "BOARD",
    "group": "GROUP",
    "presence": "ONLINE",
    "protocol": "BY",
    "version": "VERSION",
    "trust": "TRUST",
    "phase": "UPDATE",
    "last_seen": "LAST SEEN",
}


@click.group()
def device() -> None:
    """List, show, await, enrol, rename and revoke devices."""


for command in (telemetry, timeline, move, add, claim, claims, unclaim, revoke, rename, set_, label, known, wait):
    device.add_command(command)


@device.command(
    "list",
    epilog="""\b
Examples:
  tidegate device list
  tidegate device list --offline --group canary
  tidegate device list --version 1.0.0 --board qemu_mps2 --json""",
)
@filter_options
@server_options
@json_option
def list_(filters: Filters, server: str, token_file: Path | None, as_json: bool) -> None:
    """List devices with their version and state: all, or those for which every option given holds."""
    with connect(server, token_file) as api:
        found = api.devices()["devices"]
    answer = {"devices": filters.of(found)}
    none = "There are no devices. Make a claim for one: `tidegate device claim`."
    if found and filters.given:
        none = f"None of {len(found)} devices is like that."

    def show(value: Any) -> None:
        lines = [
            {
                **entry,
                "phase": update_phase((entry.get("update") or {}).get("phase")),
                "trust": _trust(entry),
                "presence": _presence(entry),
            }
            for entry in value["devices"]
        ]
        rows(lines, _COLUMNS, none)

    emit(answer, as_json, show)


def _presence(entry: dict[str, Any]) -> str:
    """Whether it is online, and what a person should check."""
    if entry.get("revoked"):
        return "revoked"
    there = "yes" if entry.get("online") else "no"
    return f"{there} (cloned?)" if entry.get("cloned") else there


def _trust(entry: dict[str, Any]) -> str | None:
    """The version of the trust store a device has, marked when a newer one is published."""
    found = entry.get("trust") or {}
    version = found.get("version")
    return f"{version} (behind)" if found.get("state") == "behind" else None if version is None else str(version)


@device.command(
    epilog="""\b
Examples:
  tidegate device show gate-7
  tidegate device show gate-7 --all"""
)
@device_argument
@click.option("--all", "every", is_flag=True, help="Also its reports and streams, and what has no value.")
@server_options
@json_option
def show(device_id: str, every: bool, server: str, token_file: Path | None, as_json: bool) -> None:
    """Show what the server knows about device ID: version, update, telemetry, crash, alarms, commands.

    --json has everything, as --all. `tidegate device timeline` shows what came when.
    """
    with connect(server, token_file) as api:
        answer = api.device(device_id)

    def shown(value: dict[str, Any]) -> None:
        commands = [_command_output.line(one) for one in value["commands"]]
        whole = {**value, "update": _update(value.get("update")), "commands": commands}
        facts(whole if every else _said({name: item for name, item in whole.items() if name not in _LONG}))

    emit(answer, as_json, shown)


_LONG = ("reports", "streams")


def _said(value: dict[str, Any]) -> dict[str, Any]:
    """What has a value, at every depth."""
    found = {name: _said(item) if isinstance(item, dict) else item for name, item in value.items()}
    return {name: item for name, item in found.items() if item is not None and item not in ({}, [])}


def _update(update: dict[str, Any] | None) -> Any:
    """What there is to say of an update: one that waits for the application in words, others as they are."""
    if not update or update.get("phase") != "waiting":
        return update
    until = f", until {_time(update['until'])} at the latest" if update.get("until") else ""
    return f"sequence {update.get('sequence')} is {WAITING} since {_time(update.get('at'))}{until}"


def _time(ms: Any) -> str:
    """A time in ms since 1970, for people; whatever else a server says, as it is."""
    try:
        return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")
    except (TypeError, ValueError, OverflowError, OSError):
        return str(ms)
