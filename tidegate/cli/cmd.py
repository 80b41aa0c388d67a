"""`tidegate cmd`: signed diagnostic commands."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from tidegate.cli import _command_output
from tidegate.cli._common import FILE, connect, emit, json_option, progress, say, server_options
from tidegate.client import Server
from tidegate.commands import cwt, restarts
from tidegate.commands.send import Request, Sender, follow, follow_all, is_open
from tidegate.errors import TidegateError
from tidegate.wire.command_states import STATES

DEFAULT_EXPIRES_S = 300
INTERRUPTED = 130
_NOTHING_SENT = "Stopped waiting. Nothing was sent."

_key_option = click.option(
    "--key",
    "key_files",
    type=FILE,
    multiple=True,
    help="Private command key, or a diagnose key for what only reads; repeat it where the trust store wants several.",
)
_wait_option = click.option(
    "--wait",
    type=click.FloatRange(0, 86400),
    default=30,
    show_default=True,
    help="Seconds to wait for answers, and for devices that restart.",
)


@click.group()
def cmd() -> None:
    """Ask devices: signed here, relayed by the server, carried out once."""


@cmd.command(
    epilog="""\b
Examples:
  tidegate cmd send gate-7 info --key keys/command.jwk
  tidegate cmd send gate-7 log tail n=50 --key keys/diagnose.jwk
  tidegate cmd send gate-7 reboot --key keys/command.jwk --wait 60
  tidegate cmd send --group hall-2 mem --key keys/diagnose.jwk
  tidegate cmd send gate-7 ping --key keys/a.jwk --key keys/b.jwk --json

\b
Words are joined by dots: `log tail` is the opcode log.tail. `tidegate cmd ops ID` lists what a device offers.
An argument is NAME=VALUE; the value is read as JSON if it is JSON, as bytes after hex:, else as text."""
)
@click.argument("words", metavar="[ID] OPCODE [NAME=VALUE]...", nargs=-1, required=True)
@click.option("--group", metavar="G", help="Ask every device of this group, each by a command of its own.")
@_key_option
@_wait_option
@click.option(
    "--expires",
    type=click.IntRange(1, cwt.MAX_LIFETIME),
    default=DEFAULT_EXPIRES_S,
    show_default=True,
    help="Seconds that the command holds: it waits so long for a device that is away.",
)
@server_options
@json_option
def send(
    words: tuple[str, ...],
    group: str | None,
    key_files: tuple[Path, ...],
    wait: float,
    expires: int,
    server: str,
    token_file: Path | None,
    as_json: bool,
) -> None:
    """Sign OPCODE for device ID (or for a group's devices), send it, and print the answer as it comes.

    What restarts the device (reboot, update rollback) is done when the device is back. Nothing is signed for a device
    that is just restarting: that waits, too, for as long as --wait says.

    Exit code 1 if a device refused it, failed at it, or did not answer or come back in time.
    """
    device_id, opcode, arguments = _split(words, group)
    if not key_files:
        raise click.UsageError("Name the key to sign with: --key FILE. `tidegate key new` makes one.")
    with connect(server, token_file) as api:
        sender = Sender(api, key_files)
        request = Request(opcode, arguments, expires)
        if group is not None:
            good = _send_group(api, sender, group, request, wait, as_json)
        else:
            good = _send_one(api, sender, device_id, request, wait, as_json)
    if not good:
        raise SystemExit(1)


def _split(words: tuple[str, ...], group: str | None) -> tuple[str, str, dict[str, Any]]:
    """(device, opcode, arguments); the device is "" with a group."""
    bare = next((at for at, word in enumerate(words) if "=" in word), len(words))
    named = words[bare:]
    device, opcode = ("", words[:bare]) if group is not None else (words[0], words[1:bare])
    if not opcode or "=" in device:
        raise click.UsageError(f"Say {'an OPCODE' if group is not None else 'a device ID and an OPCODE'}.")
    return device, ".".join(opcode), dict(_command_output.argument(word) for word in named)


def _send_one(api: Server, sender: Sender, device_id: str, request: Request, wait: float, as_json: bool) -> bool:
    end = time.monotonic() + wait
    told = sender.send(_ready(api, device_id, wait, as_json), request)
    stream = _command_output.Stream(as_json)
    told = _watch(api, told, _left(end), stream)
    if wait and restarts.is_asked(told):
        [told] = _await_back(api, [told], _left(end), as_json)
    emit(told, as_json, lambda value: _command_output.ended(value, stream.printed))
    return _is_good(told, wait)


def _left(end: float) -> float:
    return max(0.0, end - time.monotonic())


def _is_good(told: dict[str, Any], wait: float) -> bool:
    """Whether a command came to what was asked, as far as it was waited for."""
    return (told.get("outcome") == "done" and told.get("back", True) is not None) or (wait == 0 and is_open(told))


def _ready(api: Server, device_id: str, wait: float, quiet: bool) -> dict[str, Any]:
    """The device to sign for, once no restart of it is under way."""
    with _interruptible(lambda: _NOTHING_SENT), progress(f"waiting for {device_id}", quiet=quiet):
        return restarts.await_ready(api, device_id, wait)


def _await_back(api: Server, asked: list[dict[str, Any]], wait: float, quiet: bool) -> list[dict[str, Any]]:
    """The commands, each that restarts its device with "back": what is said of the device that came back, or None."""
    leaving = [one for one in asked if restarts.is_asked(one)]
    back: dict[str, dict[str, Any]] = {}
    start = time.monotonic()
    with (
        _interruptible(
            lambda: _command_output.not_awaited(one["device"] for one in leaving if one["device"] not in back)
        ),
        progress("waiting for the restart", quiet=quiet) as tell,
    ):
        for devices in restarts.await_back(api, leaving, wait):
            for name in devices.keys() - back.keys():
                back[name] = restarts.facts(devices[name], time.monotonic() - start)
            tell(len(back), len(leaving), f"{len(back)} of {len(leaving)}")
    return [{**one, "back": back.get(one["device"])} if restarts.is_asked(one) else one for one in asked]


def _watch(api: Server, told: dict[str, Any], wait: float, stream: _command_output.Stream) -> dict[str, Any]:
    """Follow one command to its end or for `wait` seconds, its output put out as it comes; the last of it."""
    steps, start = follow(api, told, wait), time.monotonic()
    with _interruptible(lambda: _command_output.left_behind([told])):
        with progress(f"waiting for {told['device']}", quiet=stream.quiet) as tell:
            for told in steps:
                tell(int((time.monotonic() - start) * 10), max(1, int(wait * 10)), told["state"])
                if told.get("output"):
                    break  # no bar between the lines of an answer
        stream.show(told)
        for told in steps:
            stream.show(told)
    return told


def _send_group(api: Server, sender: Sender, group: str, request: Request, wait: float, as_json: bool) -> bool:
    """Ask those of the group that are not restarting first, so that one that does holds nobody up."""
    end = time.monotonic() + wait
    members, away = restarts.await_members_ready(api, group, 0)
    if not members:
        raise TidegateError(f"the group {group} has no devices", "`tidegate device list` shows the groups of devices")
    ready = [one for one in members if one["id"] not in away]
    told = _ask_members(api, sender, group, ready, request, end, as_json)
    if away:
        with _interruptible(lambda: _command_output.left_behind(told)), progress(f"waiting for {group}", quiet=as_json):
            members, still = restarts.await_members_ready(api, group, _left(end))
        ready = [one for one in members if one["id"] in away - still]
        told += _ask_members(api, sender, group, ready, request, end, as_json)
        told += [_not_asked(name) for name in sorted(away & still)]
    if wait and any(restarts.is_asked(one) for one in told):
        told = _await_back(api, told, _left(end), as_json)
    whole = [{**one, **api.command(one["cti"], one["device"])} if one.get("output_size") else one for one in told]
    emit(
        {"group": group, "commands": whole},
        as_json,
        lambda value: _command_output.group(value["commands"], request.opcode),
    )
    return all(_is_good(one, wait) for one in whole)


def _ask_members(
    api: Server,
    sender: Sender,
    group: str,
    members: list[dict[str, Any]],
    request: Request,
    end: float,
    quiet: bool,
) -> list[dict[str, Any]]:
    """Sign for each, and follow all to their ends or until `end`."""
    with progress(f"signing for {group}", quiet=quiet) as tell:
        told = sender.send_all(members, request, lambda done: tell(done, len(members), members[done]["id"]))
    with (
        _interruptible(lambda: _command_output.left_behind(told)),
        progress(f"waiting for {group}", quiet=quiet) as tell,
    ):
        for told in follow_all(api, told, group, _left(end)):  # noqa: B020
            ended = sum(not is_open(one) for one in told)
            tell(ended, len(told), f"{ended} of {len(told)}")
    return told


def _not_asked(device_id: str) -> dict[str, Any]:
    error = restarts.not_back(device_id)
    return {"device": device_id, "error": error.message, "remedy": error.remedy}


@contextmanager
def _interruptible(goodbye: Callable[[], str]) -> Iterator[None]:
    """Ctrl-C stops the waiting, not what was sent; `goodbye` says how things stand, and how to go on."""
    try:
        yield
    except KeyboardInterrupt:
        click.echo("\n" + goodbye(), err=True)
        sys.exit(INTERRUPTED)


@cmd.command(
    "list",
    epilog="""\b
Examples:
  tidegate cmd list
  tidegate cmd list --device gate-7 --limit 5
  tidegate cmd list --group hall-2 --state uplinked --json""",
)
@click.option("--device", "device_id", metavar="ID", help="Only those to one device.")
@click.option("--group", metavar="G", help="Only those to the devices of a group.")
@click.option("--state", type=click.Choice(STATES), help="Only those in this state.")
@click.option("--limit", type=click.IntRange(1, 500), default=20, show_default=True, help="At most so many.")
@server_options
@json_option
def list_(
    device_id: str | None,
    group: str | None,
    state: str | None,
    limit: int,
    server: str,
    token_file: Path | None,
    as_json: bool,
) -> None:
    """List commands, newest first, with their states."""
    with connect(server, token_file) as api:
        answer = api.commands(limit, device=device_id, group=group, state=state)
    emit(answer, as_json, lambda value: _command_output.listed(value["commands"]))


_cti = click.argument("cti", metavar="CTI")
_of_device = click.option("--device", "device_id", metavar="ID", help="Needed only if two devices were sent this CTI.")


@cmd.command(
    epilog="""\b
Examples:
  tidegate cmd show 0006434ed0f4a1c2
  tidegate cmd show 0006434ed0f4a1c2 --wait 60 --json"""
)
@_cti
@_of_device
@click.option("--wait", type=click.FloatRange(0, 86400), default=0, help="Seconds to wait for its end.")
@server_options
@json_option
def show(cti: str, device_id: str | None, wait: float, server: str, token_file: Path | None, as_json: bool) -> None:
    """Show one command: its state, its history, and what the device answered.

    CTI is the counter in the signed command, 16 hex digits; `cmd send` and `cmd list` tell it.
    """
    with connect(server, token_file) as api:
        told = api.command(cti, device_id)
        told = _watch(api, told, wait, _command_output.Stream(quiet=True))
    emit(told, as_json, _command_output.whole)


@cmd.command(
    epilog="""\b
Examples:
  tidegate cmd cancel 0006434ed0f4a1c2
  tidegate cmd cancel 0006434ed0f4a1c2 --device gate-7 --json"""
)
@_cti
@_of_device
@server_options
@json_option
def cancel(cti: str, device_id: str | None, server: str, token_file: Path | None, as_json: bool) -> None:
    """Take back a command that has not gone out yet.

    What the broker or the device has taken cannot be taken back: exit code 1.
    """
    with connect(server, token_file) as api:
        told = api.cancel_command(cti, device_id)
    emit(told, as_json, lambda value: say(f"{value['opcode']} for {value['device']} is cancelled; it was not sent."))


@cmd.command(
    epilog="""\b
Examples:
  tidegate cmd ops gate-7 --key keys/diagnose.jwk
  tidegate cmd ops gate-7
  tidegate cmd ops gate-7 --json"""
)
@click.argument("device_id", metavar="ID")
@_key_option
@_wait_option
@server_options
@json_option
def ops(
    device_id: str,
    key_files: tuple[Path, ...],
    wait: float,
    server: str,
    token_file: Path | None,
    as_json: bool,
) -> None:
    """List the opcodes that device ID offers: arguments, time limit, and the role of keys they need.

    With a key the device itself is asked (by the opcode `ops`); without one, the server's copy of its last answer to
    that is shown.
    """
    with connect(server, token_file) as api:
        if key_files:
            end = time.monotonic() + wait
            told = Sender(api, key_files).send(_ready(api, device_id, wait, quiet=True), Request("ops", {}))
            told = _watch(api, told, _left(end), _command_output.Stream(quiet=True))
            if told["outcome"] != "done":
                emit(told, as_json, lambda value: _command_output.ended(value, 0))
                raise SystemExit(1)
        else:
            told = api.opcodes(device_id)["asked"]
            if told is None:
                raise TidegateError(
                    f"the server has no answer of {device_id} to ops", "Ask the device itself: name a key with --key"
                )
    source = "device" if key_files else "server"
    answer = {"device": told["device"], "source": source, "at": told["ended"], "opcodes": _command_output.offered(told)}
    emit(answer, as_json, _command_output.opcodes)
