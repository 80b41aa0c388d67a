"""`tidegate group`: groups of devices."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tidegate.cli._common import connect, emit, facts, json_option, rows, say, server_options
from tidegate.cli._device_names import complete_device
from tidegate.errors import TidegateError
from tidegate.names import DEFAULT_PRODUCT


@click.group()
def group() -> None:
    """List, show and set groups of devices: which channel they follow, or which release they are pinned to."""


@group.command(
    "list",
    epilog="""\b
Examples:
  tidegate group list
  tidegate group list --json""",
)
@server_options
@json_option
def list_(server: str, token_file: Path | None, as_json: bool) -> None:
    """List all groups with what they follow and how many devices are in them."""
    with connect(server, token_file) as api:
        answer = api.groups()["groups"]

    def show(value: list[dict[str, Any]]) -> None:
        lines = [{**one, "follows": follows(one), "settings": len(one["settings"])} for one in value]
        columns = {"name": "GROUP", "follows": "FOLLOWS", "devices": "DEVICES", "settings": "SETTINGS"}
        rows(lines, columns, "There are no groups.")

    emit(answer, as_json, show)


@group.command(
    epilog="""\b
Examples:
  tidegate group show canary"""
)
@click.argument("name")
@server_options
@json_option
def show(name: str, server: str, token_file: Path | None, as_json: bool) -> None:
    """Show a group: what it follows, the settings declared for it, and each device in it."""
    with connect(server, token_file) as api:
        found = _named(api.groups(), name)
        members = [device for device in api.devices()["devices"] if device["group"] == name]

    def display(value: dict[str, Any]) -> None:
        facts({"group": name, "follows": follows(value), "settings": value["settings"] or "none declared"})
        lines = [{**one, "offer": _offer(one)} for one in value["members"]]
        columns = {"id": "DEVICE", "name": "NAME", "board": "BOARD", "online": "ONLINE"}
        columns |= {"version": "RUNS", "offer": "OFFER"}
        rows(lines, columns, "It has no devices.")

    emit({**found, "members": members}, as_json, display)


@group.command(
    "set",
    epilog="""\b
Examples:
  tidegate group set canary --channel candidate
  tidegate group set held --release 1.0.0
  tidegate group set held --follow""",
)
@click.argument("name")
@click.option("--channel", help="Follow this channel.")
@click.option("--release", "version", help="Pin it to this version, whatever its channel has.")
@click.option("--follow", is_flag=True, help="Unpin it: it follows its channel again.")
@click.option("--product", default=DEFAULT_PRODUCT, show_default=True, help="The product of --release.")
@server_options
@json_option
def set_(
    name: str,
    channel: str | None,
    version: str | None,
    follow: bool,
    product: str,
    server: str,
    token_file: Path | None,
    as_json: bool,
) -> None:
    """Make a group, or change what it follows. Needs a token with the scope rollout."""
    if follow and version:
        raise click.UsageError("--release pins the group, --follow ends that: name one")
    change: dict[str, Any] = {"channel": channel} if channel else {}
    if version or follow:
        change["release"] = {"product": product, "version": version} if version else None
    with connect(server, token_file) as api:
        answer = _named(api.change_groups(None, {name: change}, {}), name)
    emit(
        answer, as_json, lambda value: say(f"group {name} follows {follows(value)}; devices in it: {value['devices']}")
    )


@click.command(
    epilog="""\b
Examples:
  tidegate device move gate-7 gate-8 --group canary"""
)
@click.argument("device_ids", metavar="ID...", nargs=-1, required=True, shell_complete=complete_device)
@click.option("--group", "name", required=True, help="Their new group.")
@server_options
@json_option
def move(device_ids: tuple[str, ...], name: str, server: str, token_file: Path | None, as_json: bool) -> None:
    """Move devices to another group, which decides what they are offered. Needs a token with the scope rollout."""
    with connect(server, token_file) as api:
        answer = api.change_groups(None, {}, dict.fromkeys(device_ids, name))
    found = _named(answer, name)
    emit(found, as_json, lambda _: say(f"{', '.join(device_ids)}: now in group {name}, which follows {follows(found)}"))


def _named(answer: dict[str, Any], name: str) -> dict[str, Any]:
    for one in answer["groups"]:
        if one["name"] == name:
            return dict(one)
    raise TidegateError(f"there is no group {name}", "`tidegate group list` shows the groups")


def follows(entry: dict[str, Any]) -> str:
    """What a group's devices are offered, for people."""
    release = entry["release"]
    if release:
        return f"release {release['version']} of {release['product']} (pinned; channel {entry['channel']})"
    return f"channel {entry['channel']}"


def _offer(device: dict[str, Any]) -> str | None:
    offer = device.get("offer")
    return f"{offer['version']} {offer['state']}" if offer else None
