"""`tidegate rollout`: roll out what is published, to the devices of a channel or a group, or in waves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tidegate.cli import _waves
from tidegate.cli._common import (
    confirm,
    connect,
    emit,
    json_option,
    rows,
    say,
    server_options,
    update_phase,
    yes_option,
)
from tidegate.cli._identities import command_keys_option, identities, identity_options, wait_for_each_option
from tidegate.cli._plan_table import show_plan
from tidegate.commands.send import Request, Sender
from tidegate.errors import TidegateError

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

_PRODUCT = _waves.PRODUCT
_CHANNEL = click.option("--channel", help="The channel that groups follow. Default: stable.")
_GROUP = click.option("--group", "group_name", help="One group instead, which is pinned to the release.")


@click.group()
def rollout() -> None:
    """Roll a published release out to devices, watch it, stop it."""


@rollout.command(
    epilog="""\b
Examples:
  tidegate rollout start 1.1.0 --group canary
  tidegate rollout start 1.1.0 --channel stable --yes --token-file rollout.token
  tidegate rollout start 1.1.0 --to channel=stable --waves 1%,10%,50%,100% --soak 2h --max-failures 2%
  tidegate rollout start maps@7 --to all --waves 10%,100%
  tidegate rollout start trust@4 --to group=canary --yes"""
)
@click.argument("version")
@_GROUP
@_CHANNEL
@_waves.terms_options
@_PRODUCT
@yes_option
@server_options
@json_option
def start(
    version: str,
    group_name: str | None,
    channel: str | None,
    terms: dict[str, Any],
    product: str,
    yes: bool,
    server: str,
    token_file: Path | None,
    as_json: bool,
) -> None:
    """Show what devices would get, ask, and offer VERSION to a group, or to all groups that follow a channel.

    With --to or any other option of a rollout in waves (docs/rollouts.md) it reaches a few devices first, and the rest
    as long as those are well. Data components and trust stores that were published with --hold go out in waves alone:
    maps@7 is version 7 of the component maps, trust@4 version 4 of the trust store.

    Needs a token with the scope rollout. Starting it again changes nothing.
    """
    if terms or "@" in version:
        if group_name or channel:
            raise click.UsageError("in waves, select devices with --to group=NAME or --to channel=NAME")
        with connect(server, token_file) as api:
            _waves.start(api, product, version, terms or {"to": "all"}, yes, as_json)
        return
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
  tidegate rollout status 1.1.0 --json
  tidegate rollout status 1.1.0 --state failed"""
)
@click.argument("version", required=False)
@click.option("--devices", is_flag=True, help="Of a rollout in waves: each device, too.")
@click.option("--state", help="Of a rollout in waves: the devices in this state.")
@_PRODUCT
@server_options
@json_option
def status(
    version: str | None,
    devices: bool,
    state: str | None,
    product: str,
    server: str,
    token_file: Path | None,
    as_json: bool,
) -> None:
    """Show what is rolled out to whom; with VERSION, the state of each device, or its waves.

    A device is waiting, offered, running, retrying (failed for a reason that may pass, and tries again by itself) or
    failed; docs/rollouts.md has the states of devices in waves.
    """
    with connect(server, token_file) as api:
        if version and _waves.status(api, product, version, devices, state, as_json):
            return
        if version and "@" in version:
            raise TidegateError(
                f"{product} {version} is not rolled out in waves",
                f"Start it: tidegate rollout start {version} --to all",
            )
        answer: Any = api.rollout(product, version) if version else api.rollouts(product)
        staged = [] if version or as_json else _waves.listed(api)

    def show_all(value: list[dict[str, Any]]) -> None:
        lines = [
            {**one, **one["counts"], "channels": " ".join(one["channels"]), "groups": " ".join(one["groups"])}
            for one in value
        ]
        columns = {"version": "VERSION", "sequence": "SEQUENCE", "channels": "CHANNELS", "groups": "PINNED GROUPS"}
        columns |= {"waiting": "WAITING", "offered": "OFFERED", "running": "RUNNING"}
        columns |= {"retrying": "RETRYING", "failed": "FAILED"}
        rows(lines, columns, f"No release of {product} is rolled out to any device.")
        _waves.show_listed(staged)

    def show_one(value: dict[str, Any]) -> None:
        places = [f"channel {name}" for name in value["channels"]] + [f"group {name}" for name in value["groups"]]
        say(f"{product} {version} (sequence {value['sequence']}): {', '.join(places) or 'not offered to any device'}")
        lines = [{**entry, "phase": update_phase(entry["phase"])} for entry in value["devices"]]
        rows(lines, _COLUMNS, "It has no devices.")
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
    if "@" in version:
        raise click.UsageError(f"{version} goes out in waves alone; end that with: tidegate rollout abort {version}")
    where = _where(group_name, channel)
    with connect(server, token_file) as api:
        confirm(f"Stop {product} {version} for {_named(where)}?", yes, as_json)
        answer = api.change_rollout("stop", product, version, where)

    def show(value: dict[str, Any]) -> None:
        say(f"{product} {version} is no longer rolled out to {_named(where)}")
        _show_counts(value)

    emit(answer, as_json, show)


@rollout.command(
    epilog="""\b
Examples:
  tidegate rollout retry 1.1.0 --key keys/command.jwk --yes
  tidegate rollout retry 1.1.0 --json"""
)
@click.argument("version")
@_PRODUCT
@command_keys_option("Private command key, to sign `update retry` with; repeat it if the trust store requires several.")
@wait_for_each_option
@yes_option
@identity_options
@server_options
@json_option
def retry(
    version: str,
    product: str,
    key_files: tuple[Path, ...],
    wait: float,
    yes: bool,
    server: str,
    token_file: Path | None,
    as_json: bool,
) -> None:
    """Have the devices that failed at VERSION try it again now.

    Without a key the server only offers it once more; devices that are `retrying` go on by themselves. With the command
    key each of them is sent the signed command `update retry`, which lifts the ban of an image that failed its trial
    there and ends all pauses. Needs a token with the scopes read and rollout, and command for the key's use.

    Exit code 1 if a device refused the command or did not answer in time.
    """
    with connect(server, token_file) as api:
        sender = Sender(api, key_files, "command", identities(api, as_json)) if key_files else None
        answer = api.waves.retry(product, version) if "@" in version else api.retry_rollout(product, version)
        names = answer.get("retried", [])
        if sender and names:
            confirm(f"Sign `update retry` for {' '.join(names)}?", yes, as_json)
        requests = [(name, Request("update.retry", {})) for name in names]
        ended = list(sender.send_and_follow(requests, wait)) if sender else []
    results = [_retried(one) for one in ended]

    def show(value: dict[str, Any]) -> None:
        if not names:
            say(f"No device has failed at {product} {version}.")
        elif sender is None:
            say(f"{product} {version} is offered once more to {len(names)}: {' '.join(names)}")
            say("Devices that banned it take it only after the signed command: add --key FILE.")
        for one in results:
            say(f"{one['device']}: {one['text']}")
        if "@" in version:
            _waves.show_status(value)
        else:
            _show_counts(value)

    emit({**answer, "results": results}, as_json, show)
    if not all(one["done"] for one in results):
        raise SystemExit(1)


def _retried(command: dict[str, Any]) -> dict[str, Any]:
    """How `update retry` went on one device."""
    lifted = ((command.get("result") or {}).get("answer") or {}).get("lifted")
    if command.get("outcome") == "done":
        text = f"tries again; {lifted} banned images were allowed again" if lifted else "tries again"
        if lifted is None:
            text += "; what its loader has banned stays banned: it is older, flash it again"
    else:
        text = command.get("error") or command.get("why") or "did not answer in time; it waits for the command"
    return {"device": command["device"], "done": command.get("outcome") == "done", "lifted": lifted, "text": text}


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


_waves.add_verbs(rollout)
