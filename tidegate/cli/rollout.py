"""`tidegate rollout`: roll a published release out to the devices of a channel or a group."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tidegate.cli._common import confirm, connect, emit, json_option, rows, say, server_options, yes_option
from tidegate.cli._plan_table import show_plan
from tidegate.names import DEFAULT_PRODUCT

_COLUMNS = {
    "id": "DEVICE",
    "group": "GROUP",
    "board": "BOARD",
    "online": "ONLINE",
    "version": "RUNS",
    "state": "STATE",
    "phase": "UPDATE",
    "why": "WHY",
}

_PRODUCT = click.option("--product", default=DEFAULT_PRODUCT, show_default=True, help="Of this product.")
_CHANNEL = click.option("--channel", help="The channel that groups follow. Default: stable.")
_GROUP = click.option("--group", "group_name", help="One group instead, which is pinned to the release.")


@click.group()
def rollout() -> None:
    """Roll a published release out to devices, watch it, stop it."""


@rollout.command(
    epilog="""\b
Examples:
  tidegate rollout start 1.1.0 --group canary
  tidegate rollout start 1.1.0 --channel stable --yes --token-file rollout.token"""
)
@click.argument("version")
@_GROUP
@_CHANNEL
@_PRODUCT
@yes_option
@server_options
@json_option
def start(
    version: str,
    group_name: str | None,
    channel: str | None,
    product: str,
    yes: bool,
    server: str,
    token_file: Path | None,
    as_json: bool,
) -> None:
    """Show what devices would get, ask, and offer VERSION to a group, or to all groups that follow a channel.

    Needs a token with the scope rollout. Starting it again changes nothing.
    """
    where = _where(group_name, channel)
    with connect(server, token_file) as api:
        plan = api.change_rollout("plan", product, version, where)["devices"]
        if not as_json:
            show_plan(plan, product)
        confirm(f"Roll {product} {version} out to {_named(where)}?", yes, as_json)
        answer = api.change_rollout("start", product, version, where)

    def show(value: dict[str, Any]) -> None:
        again = "" if value["started"] else " already"
        say(f"{product} {version} (sequence {value['sequence']}) is rolled out to {_named(where)}{again}")
        _show_counts(value)

    emit({**answer, "plan": plan}, as_json, show)


@rollout.command(
    epilog="""\b
Examples:
  tidegate rollout status
  tidegate rollout status 1.1.0 --json"""
)
@click.argument("version", required=False)
@_PRODUCT
@server_options
@json_option
def status(version: str | None, product: str, server: str, token_file: Path | None, as_json: bool) -> None:
    """Show what is rolled out to whom; with VERSION, the state of each device: waiting, offered, running or failed."""
    with connect(server, token_file) as api:
        answer: Any = api.rollout(product, version) if version else api.rollouts(product)

    def show_all(value: list[dict[str, Any]]) -> None:
        lines = [
            {**one, **one["counts"], "channels": " ".join(one["channels"]), "groups": " ".join(one["groups"])}
            for one in value
        ]
        columns = {"version": "VERSION", "sequence": "SEQUENCE", "channels": "CHANNELS", "groups": "PINNED GROUPS"}
        columns |= {"waiting": "WAITING", "offered": "OFFERED", "running": "RUNNING", "failed": "FAILED"}
        rows(lines, columns, f"No release of {product} is rolled out to any device.")

    def show_one(value: dict[str, Any]) -> None:
        places = [f"channel {name}" for name in value["channels"]] + [f"group {name}" for name in value["groups"]]
        say(f"{product} {version} (sequence {value['sequence']}): {', '.join(places) or 'not offered to any device'}")
        rows(value["devices"], _COLUMNS, "It has no devices.")
        _show_counts(value)

    emit(answer, as_json, show_one if version else show_all)


@rollout.command(
    epilog="""\b
Examples:
  tidegate rollout stop 1.1.0 --channel stable
  tidegate rollout stop 1.1.0 --group canary --yes"""
)
@click.argument("version")
@_GROUP
@_CHANNEL
@_PRODUCT
@yes_option
@server_options
@json_option
def stop(
    version: str,
    group_name: str | None,
    channel: str | None,
    product: str,
    yes: bool,
    server: str,
    token_file: Path | None,
    as_json: bool,
) -> None:
    """Stop offering VERSION through the group or channel.

    Devices that run it keep it, and one that is updating may finish: to bring them back, make a release of the old
    image (`tidegate release rollback`).
    """
    where = _where(group_name, channel)
    with connect(server, token_file) as api:
        confirm(f"Stop {product} {version} for {_named(where)}?", yes, as_json)
        answer = api.change_rollout("stop", product, version, where)

    def show(value: dict[str, Any]) -> None:
        say(f"{product} {version} is no longer rolled out to {_named(where)}")
        _show_counts(value)

    emit(answer, as_json, show)


def _where(group_name: str | None, channel: str | None) -> dict[str, str]:
    if group_name and channel:
        raise click.UsageError("name --group or --channel, not both")
    return {"group": group_name} if group_name else {"channel": channel or "stable"}


def _named(where: dict[str, str]) -> str:
    return " ".join(f"{kind} {name}" for kind, name in where.items())


def _show_counts(value: dict[str, Any]) -> None:
    counts = value["counts"]
    states = ", ".join(f"{count} {state}" for state, count in counts.items() if state != "none")
    others = f"; {counts['none']} not offered it" if counts["none"] else ""
    say(f"devices: {states}{others}")
