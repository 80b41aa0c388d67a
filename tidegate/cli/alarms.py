"""`tidegate alarms`: alarms of devices."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path
from textwrap import indent
from typing import Any

import click

from tidegate.cli._common import FILE, connect, emit, json_option, rows, say, server_options
from tidegate.errors import TidegateError
from tidegate.files import read_limited, write_atomic
from tidegate.rollout import durations
from tidegate.visible import visible
from tidegate.wire.alarm_states import STATES

_COLUMNS = {"time": "TIME", "device": "DEVICE", "kind": "KIND", "reason": "REASON", "detail": "DETAIL"}
_LISTED = {"id": "NUMBER", **_COLUMNS, "standing": "STATE"}
_MUTES = {"id": "NUMBER", "kind": "KIND", "about": "OF", "until": "UNTIL", "by": "BY", "why": "WHY"}
_AT_ONCE = 500
_MOST_ID = 2**53 - 1


@click.group()
def alarms() -> None:
    """Alarms that devices raised: refused commands and offers, rollbacks, crashes."""


@alarms.command(
    "list",
    epilog="""\b
Examples:
  tidegate alarms list
  tidegate alarms list --device gate-7 --trace
  tidegate alarms list --state calling --kind crash
  tidegate alarms list --device gate-7 --limit 5 --json""",
)
@click.option("--device", "device_id", metavar="ID", help="Only those of one device.")
@click.option("--kind", help="Only those of one kind: crash, offer-refused, ...")
@click.option("--state", type=click.Choice(STATES), help="open: not acknowledged; calling: nor muted.")
@click.option("--limit", type=click.IntRange(1, 500), default=50, show_default=True, help="At most so many.")
@click.option("--before", type=click.IntRange(1), metavar="NUMBER", help="Only those older than the alarm NUMBER.")
@click.option("--trace", is_flag=True, help="Show what crashed devices saved: trace, task, last log lines.")
@server_options
@json_option
def list_(
    device_id: str | None,
    kind: str | None,
    state: str | None,
    limit: int,
    before: int | None,
    trace: bool,
    server: str,
    token_file: Path | None,
    as_json: bool,
) -> None:
    """List alarms, newest first."""
    with connect(server, token_file) as api:
        answer = api.alarms.listed(limit, device_id, kind=kind, state=state, before=before)

    none = "There are no such alarms." if device_id or kind or state or before else "There are no alarms."

    def show(value: Any) -> None:
        rows([{**one, "standing": _standing(one)} for one in value["alarms"]], _LISTED, none)
        if len(value["alarms"]) == limit:
            say(f"\nOlder ones: --before {min(one['id'] for one in value['alarms'])}")
        traced = [one for one in value["alarms"] if one.get("trace")]
        if traced and not trace:
            say(f"\n{len(traced)} of them came with a trace: --trace shows it.")
        for one in traced if trace else ():
            say(f"\n{one['time']} {one['device']} {one['reason']}:")
            say(indent(one["trace"].rstrip("\n"), "  "))

    emit(answer, as_json, show)


@alarms.command(
    "forward",
    epilog="""\b
Examples:
  tidegate alarms forward --seen alarms.seen --run "mail -s Tidegate ops@example.org"
  tidegate alarms forward --seen alarms.seen --run /etc/tidegate/alert""",
)
@click.option("--seen", type=FILE, required=True, help="Holds the number of the last alarm that was handed on.")
@click.option("--run", "program", metavar="PROGRAM", required=True, help="Gets the new alarms as text on its input.")
@server_options
@json_option
def forward(seen: Path, program: str, server: str, token_file: Path | None, as_json: bool) -> None:
    """Hand the alarms that are new since the last time to PROGRAM, which mails them or the like; for a timer.

    Muted ones are left out. Nothing new: it is not run. When it fails, the same alarms are handed on at the next time.
    The first time all of the server's alarms are new.
    """
    words = shlex.split(program)
    if not words:
        raise TidegateError("--run names no program", "Name one, with its arguments")
    last = _last(seen)
    with connect(server, token_file) as api:
        found = api.alarms.listed(_AT_ONCE, since=last)["alarms"]
    calling = [one for one in found if not one["muted_until"]]
    if calling:
        _hand_on(words, [" ".join(str(one.get(name) or "-") for name in _COLUMNS) for one in calling])
    if found:
        write_atomic(seen, f"{max(one['id'] for one in found)}\n".encode())
    emit({"new": len(calling)}, as_json, lambda value: say(f"{value['new']} new alarms"))


@alarms.command(
    epilog="""\b
Examples:
  tidegate alarms ack 41 42 --note "the valve was exchanged"
  tidegate alarms ack --kind crash --device gate-7"""
)
@click.argument("numbers", metavar="[NUMBER]...", nargs=-1, type=click.IntRange(1, _MOST_ID))
@click.option("--device", "device_id", metavar="ID", help="Instead of numbers: the open ones of one device.")
@click.option("--kind", help="Instead of numbers: the open ones of one kind.")
@click.option("--note", help="What there is to say about them; shown beside them.")
@server_options
@json_option
def ack(
    numbers: tuple[int, ...],
    device_id: str | None,
    kind: str | None,
    note: str | None,
    server: str,
    token_file: Path | None,
    as_json: bool,
) -> None:
    """Acknowledge alarms: somebody has seen them, and they call nobody any more.

    Needs a token with the scope devices, whose name is noted.
    """
    if bool(numbers) == bool(device_id or kind):
        raise click.UsageError("name the numbers of alarms, or --device or --kind")
    with connect(server, token_file) as api:
        if not numbers:
            of_them = api.alarms.listed(_AT_ONCE, device_id, kind=kind, state="open")["alarms"]
            numbers = tuple(one["id"] for one in of_them)
        chosen = sorted(set(numbers))
        parts = [chosen[at : at + _AT_ONCE] for at in range(0, len(chosen), _AT_ONCE)]
        done = [number for part in parts for number in api.alarms.acknowledge(part, note)]
    before = [number for number in chosen if number not in done]

    def show(value: dict[str, list[int]]) -> None:
        say(f"acknowledged: {' '.join(map(str, value['acknowledged'])) or 'none'}")
        if value["others"]:
            say(f"acknowledged before, or unknown: {' '.join(map(str, value['others']))}")

    emit({"acknowledged": done, "others": before}, as_json, show)


@alarms.command(
    epilog="""\b
Examples:
  tidegate alarms mute crash --for 8h --why "a new valve is on its way"
  tidegate alarms mute command-refused --device gate-7 --for 2d"""
)
@click.argument("kind")
@click.option("--for", "length", metavar="TIME", required=True, help="For how long: 90s, 30m, 8h, 7d; 30d at most.")
@click.option("--device", "device_id", metavar="ID", help="Only those of one device; of all without it.")
@click.option("--why", "reason", help="Why, for who asks later.")
@server_options
@json_option
def mute(
    kind: str,
    length: str,
    device_id: str | None,
    reason: str | None,
    server: str,
    token_file: Path | None,
    as_json: bool,
) -> None:
    """Have alarms of KIND call nobody until an end: not on the page, by webhook, or by `alarms forward`.

    They are stored and listed all the same. Needs a token with the scope devices.
    """
    seconds = durations.parse(length, "--for")
    with connect(server, token_file) as api:
        answer = api.alarms.mute(kind, device_id, seconds, reason)

    def show(value: dict[str, Any]) -> None:
        say(f"{value['kind']} of {value['device'] or 'all devices'} is muted until {value['until']}")
        say(f"To end it before: tidegate alarms unmute {value['id']}")

    emit(answer, as_json, show)


@alarms.command(
    epilog="""\b
Examples:
  tidegate alarms mutes
  tidegate alarms unmute 3"""
)
@click.argument("number", type=click.IntRange(1, _MOST_ID))
@server_options
@json_option
def unmute(number: int, server: str, token_file: Path | None, as_json: bool) -> None:
    """End the mute NUMBER now. Needs a token with the scope devices."""
    with connect(server, token_file) as api:
        answer = api.alarms.unmute(number)
    emit(answer, as_json, lambda value: say(f"{value['kind']} of {value['device'] or 'all devices'} is muted no more"))


@alarms.command(
    epilog="""\b
Examples:
  tidegate alarms mutes
  tidegate alarms mutes --json"""
)
@server_options
@json_option
def mutes(server: str, token_file: Path | None, as_json: bool) -> None:
    """List the mutes in force, the one that ends first first."""
    with connect(server, token_file) as api:
        found = api.alarms.mutes()

    def show(value: dict[str, Any]) -> None:
        rows([{**one, "about": one["device"] or "all"} for one in value["mutes"]], _MUTES, "Every alarm calls.")

    emit({"mutes": found}, as_json, show)


def _standing(one: dict[str, Any]) -> str:
    if one["acknowledged"]:
        by = one["acknowledged_by"] or "somebody"
        return f"acknowledged by {by}" + (f": {one['note']}" if one["note"] else "")
    return f"muted until {one['muted_until']}" if one["muted_until"] else "open"


def _last(seen: Path) -> int:
    if not seen.exists():
        return 0
    text = read_limited(seen, 32, "number of the last alarm").decode("ascii", "replace").strip()
    if not text.isdigit():
        raise TidegateError(f"{seen} holds no number", "Remove it; all alarms are new then")
    return int(text)


def _hand_on(words: list[str], lines: Sequence[str]) -> None:
    text = "".join(visible(line) + "\n" for line in lines)
    try:
        done = subprocess.run(words, input=text, text=True)
    except OSError as error:
        raise TidegateError(f"{words[0]} cannot be run: {error.strerror}", "Name a program by its path") from error
    if done.returncode:
        raise TidegateError(f"{words[0]} ended with exit code {done.returncode}", "Its words are above")
