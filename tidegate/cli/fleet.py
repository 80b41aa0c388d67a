"""`tidegate diff` and `tidegate apply`: compare a fleet with a file, and make it so (docs/gitops.md)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tidegate.cli._common import (
    FILE,
    confirm,
    connect,
    emit,
    json_option,
    progress,
    say,
    server_options,
    yes_option,
)
from tidegate.cli._identities import command_keys_option, identities, identity_options, wait_for_each_option
from tidegate.commands.send import Sender
from tidegate.errors import TidegateError
from tidegate.fleet import (
    Outcome,
    Plan,
    RolloutPlan,
    change_groups,
    change_rollouts,
    change_settings,
    check_names,
    check_starts,
    load_file,
    make_plan,
    plan_rollouts,
)
from tidegate.names import DEFAULT_PRODUCT

DIFFERENT = 3  # exit code: the fleet is not as the file says (yet)

_FILE = click.option("-f", "--file", "path", type=FILE, default="fleet.yaml", show_default=True, help="The file.")
_PRODUCT = click.option(
    "--product", default=DEFAULT_PRODUCT, show_default=True, help="Of pinned releases, where the file names none."
)


@click.command(
    epilog="""\b
Examples:
  tidegate diff -f fleet.yaml
  tidegate diff -f fleet.yaml --json

\b
Exit codes: 0 no difference, 3 there are differences, 1 the comparison failed, 2 wrong usage."""
)
@_FILE
@_PRODUCT
@server_options
@json_option
def diff(path: Path, product: str, server: str, token_file: Path | None, as_json: bool) -> None:
    """Show what differs from the file: groups, what they follow, their devices, settings of devices, rollouts in waves.

    Needs a token with the scope read, and changes nothing.
    """
    file = load_file(path)
    with connect(server, token_file) as api:
        plan = make_plan(file, api, product)
        staged = plan_rollouts(file, api, product)
    emit(_facts(plan, staged), as_json, lambda _: _show(plan, staged, path))
    if not plan.is_empty or staged.changes or staged.ends:
        raise SystemExit(DIFFERENT)


@click.command(
    epilog="""\b
Examples:
  tidegate apply -f fleet.yaml --key keys/command.jwk
  tidegate apply -f fleet.yaml --key keys/command.jwk --yes --json

\b
Exit codes: 0 all is as the file says, 3 some devices wait (offline, or without an answer; the next
run finishes them), 1 refused or failed, 2 wrong usage."""
)
@_FILE
@command_keys_option("Private command key, for settings; repeat it where the trust store wants several signatures.")
@wait_for_each_option
@_PRODUCT
@click.option("--prune", is_flag=True, help="Abort rollouts in waves that the file does not declare; asked first.")
@yes_option
@identity_options
@server_options
@json_option
def apply(
    path: Path,
    key_files: tuple[Path, ...],
    wait: float,
    product: str,
    prune: bool,
    yes: bool,
    server: str,
    token_file: Path | None,
    as_json: bool,
) -> None:
    """Show what differs from the file, ask, and change it. Repeating it changes nothing.

    Groups are changed on the server, all at once; the token needs the scopes read and rollout, and command for
    settings, which are signed here with --key and set by each device as a whole or not at all.
    """
    file = load_file(path)
    with connect(server, token_file) as api:
        judge = identities(api, as_json)
        sender = Sender(api, key_files, "command", judge) if key_files else None
        plan = make_plan(file, api, product)
        staged = plan_rollouts(file, api, product)
        if sender is not None:
            check_names(file, plan, judge)
        if not as_json:
            _show(plan, staged, path)
        if any(one.online for one in plan.settings) and sender is None:
            raise TidegateError(
                "settings of devices differ, and only signed commands change them; nothing was changed",
                "Name the command key: --key FILE",
            )
        check_starts(staged, file, api)
        ended: list[Outcome] = []
        if plan.changes or staged.changes or any(one.online for one in plan.settings):
            confirm(f"Make it so on {server}?", yes, as_json)
        if prune and staged.ends:
            confirm(f"Abort the rollouts of {' '.join(staged.ends)}?", yes, as_json)
        plan = change_groups(file, api, product, plan)
        if sender is not None:  # it may be a new plan
            check_names(file, plan, judge)
        if plan.changes and not as_json:
            say("The groups are as the file says.")
        change_rollouts(staged, api, prune=prune)
        if staged.starts and not as_json:
            say(f"Rolled out in waves: {' '.join(version for version, _ in staged.starts)}")
        try:
            with progress("setting", quiet=as_json) as tell:
                for sent in change_settings(sender, plan.settings, wait, tell):
                    ended.append(sent)
                    if not as_json:
                        say(f"{sent.device}: {_ending(sent)}")
        except KeyboardInterrupt:  # not all of it is as the file says: 1, which scripts know from here
            raise click.Abort from None
    results = [{"device": one.device, "state": one.state, "why": one.why} for one in ended]
    emit({**_facts(plan, staged), "results": results}, as_json, lambda _: _show_ends(ended))
    if any(one.state in ("refused", "failed") for one in ended):
        raise SystemExit(1)
    if any(one.state == "waiting" for one in ended):
        raise SystemExit(DIFFERENT)


def _ending(sent: Outcome) -> str:
    text = {"done": "is set", "waiting": "waits", "refused": "refused its settings", "failed": "could not be set"}
    return text[sent.state] + (f": {sent.why}" if sent.why else "")


def _show_ends(ended: list[Outcome]) -> None:
    waiting = [one.device for one in ended if one.state == "waiting"]
    wrong = [one.device for one in ended if one.state in ("refused", "failed")]
    if waiting:
        say(f"{len(waiting)} wait; apply again when they are online: {' '.join(waiting)}")
    if wrong:
        say(f"{len(wrong)} are not as the file says: {' '.join(wrong)}")


def _facts(plan: Plan, staged: RolloutPlan) -> dict[str, Any]:
    return {
        "different": not plan.is_empty or staged.changes or bool(staged.ends),
        "changes": plan.changes,
        "rollouts": {"start": dict(staged.starts), "not_declared": staged.ends},
        "slo": staged.slo and {"from": staged.slo[0], "to": staged.slo[1]},
        "settings": [
            {
                "device": one.device,
                "group": one.group,
                "online": one.online,
                "keys": {key: {"from": old, "to": new} for key, (old, new) in one.keys.items()},
            }
            for one in plan.settings
        ],
    }


def _show(plan: Plan, staged: RolloutPlan, path: Path) -> None:
    if staged.slo is not None:
        say(f"~ error budget of {staged.product}: {_text(staged.slo[0])} -> {staged.slo[1]}")
    for version, terms in staged.starts:
        say(f"+ rollout {version} to {terms['to']}, waves {terms['waves']}")
    for version in staged.ends:
        say(f"- rollout {version} is under way and not in the file: --prune aborts it")
    if plan.is_empty and not (staged.changes or staged.ends):
        say(f"All is as {path} says.")
        return
    for change in plan.changes:
        whose = f"group {change['group']}" if "group" in change else f"device {change['device']}"
        if change["to"] == "new":
            say(f"+ {whose}")
        elif change["what"] == "settings":
            _show_settings(whose, change["from"] or {}, change["to"])
        else:
            say(f"~ {whose}: {change['what']} {_text(change['from'])} -> {_text(change['to'])}")
    for one in plan.settings:
        there = "" if one.online else " (offline: it waits)"
        say(f"~ device {one.device}, in {one.group}{there}:")
        for key, (old, new) in one.keys.items():
            say(f"    {key}: {'not known' if old is None else old} -> {new}")


def _show_settings(whose: str, old: dict[str, Any], new: dict[str, Any]) -> None:
    """The declared settings, which the server stores for people."""
    for key in sorted(set(old) | set(new)):
        if old.get(key) != new.get(key):
            to = new.get(key, "not declared any more; devices keep what they have")
            say(f"~ {whose}: declares {key} {_text(old.get(key))} -> {to}")


def _text(value: Any) -> str:
    return "none" if value is None else str(value)
