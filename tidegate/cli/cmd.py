"""`tidegate cmd`: signed diagnostic commands."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from tidegate.cli import _command_output
from tidegate.cli._command_sending import Pinned, left, ready_device, send_group, send_one, watch
from tidegate.cli._common import FILE, Number, connect, emit, facts, json_option, say, server_options, yes_option
from tidegate.cli._device_names import complete_device, device_argument
from tidegate.cli._identities import (
    command_keys_option,
    identities,
    identity_options,
    known_devices_option,
    known_file,
    known_of,
)
from tidegate.commands import cwt, evidence
from tidegate.commands.send import Request, Sender
from tidegate.errors import TidegateError
from tidegate.files import check_folder
from tidegate.fleet import load_file
from tidegate.trust import store as trust_store
from tidegate.wire.command_states import STATES

DEFAULT_EXPIRES_S = 300

_key_option = command_keys_option(
    "Private command key, or a diagnose key for what only reads; repeat it if the trust store requires several.",
    envvar="TIDEGATE_COMMAND_KEY",
)
_wait_option = click.option(
    "--wait",
    type=Number(0, 86400),
    default=30,
    show_default=True,
    help="Seconds to wait for answers, and for devices that restart.",
)


@click.group()
def cmd() -> None:
    """Send commands to devices: signed here, relayed by the server, executed once."""


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
@click.argument("words", metavar="[ID] OPCODE [NAME=VALUE]...", nargs=-1, required=True, shell_complete=complete_device)
@click.option("--group", metavar="G", help="Send to every device of this group, to each a command of its own.")
@_key_option
@_wait_option
@click.option(
    "--expires",
    type=click.IntRange(1, cwt.MAX_LIFETIME),
    default=DEFAULT_EXPIRES_S,
    show_default=True,
    help="Seconds that the command is valid: so long it waits for a device that is offline.",
)
@click.option(
    "--fleet", "fleet_file", type=FILE, help="With --group: sign only for those that this fleet file lists in it."
)
@click.option("--proof", type=FILE, help="Have the device sign its answer, and keep the evidence there (`cmd verify`).")
@yes_option
@identity_options
@server_options
@json_option
def send(
    words: tuple[str, ...],
    group: str | None,
    key_files: tuple[Path, ...],
    wait: float,
    expires: int,
    fleet_file: Path | None,
    proof: Path | None,
    yes: bool,
    server: str,
    token_file: Path | None,
    as_json: bool,
) -> None:
    """Sign OPCODE for device ID (or for a group's devices), send it, and print the answer as it comes.

    A command that restarts the device (reboot, update rollback) is done when the device is back. Nothing is signed for
    a device that is restarting: that waits, too, at most --wait seconds.

    ID is what is signed for, whatever the server says: a name is looked up in what this machine knows of devices
    (`tidegate device known`). A name that is new here is asked about, or with --trust-first-use believed.

    Exit code 1 if a device refused it, failed at it, or did not answer or come back in time.
    """
    device_id, opcode, arguments = _split(words, group)
    if not key_files:
        raise click.UsageError("Name the key to sign with: --key FILE. `tidegate key new` makes one.")
    if fleet_file is not None and group is None or proof is not None and group is not None:
        raise click.UsageError("--fleet goes with --group, and --proof with one device")
    pinned = None if fleet_file is None or group is None else _pinned(fleet_file, group)
    if proof is not None:
        check_folder(proof)
    with connect(server, token_file) as api:
        judge = identities(api, as_json)
        sender = Sender(api, key_files, identities=judge)
        request = Request(opcode, arguments, expires, prove=proof is not None)
        if group is not None:
            good = send_group(api, sender, judge, group, request, wait, as_json, pinned, yes)
        else:
            good = send_one(api, sender, judge, device_id, request, wait, as_json, proof)
    if not good:
        raise SystemExit(1)


def _pinned(path: Path, group: str) -> Pinned:
    found = load_file(path).groups.get(group)
    if found is None or found.devices is None:
        raise TidegateError(
            f"{path} does not list the devices of the group {group}", "List them; `tidegate docs gitops` shows how"
        )
    return Pinned(path, frozenset(found.devices))


def _split(words: tuple[str, ...], group: str | None) -> tuple[str, str, dict[str, Any]]:
    """(device, opcode, arguments); the device is "" with a group."""
    bare = next((at for at, word in enumerate(words) if "=" in word), len(words))
    named = words[bare:]
    device, opcode = ("", words[:bare]) if group is not None else (words[0], words[1:bare])
    if not opcode or "=" in device:
        raise click.UsageError(f"Say {'an OPCODE' if group is not None else 'a device ID and an OPCODE'}.")
    return device, ".".join(opcode), dict(_command_output.argument(word) for word in named)


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
_of_device = click.option("--device", "device_id", metavar="ID", help="Needed only if two devices got this CTI.")


@cmd.command(
    epilog="""\b
Examples:
  tidegate cmd show 0006434ed0f4a1c2
  tidegate cmd show 0006434ed0f4a1c2 --wait 60 --json"""
)
@_cti
@_of_device
@click.option("--wait", type=Number(0, 86400), default=0, help="Seconds to wait for its end.")
@click.option("--proof", type=FILE, help="Add the signed answer to this file, which `cmd send --proof` began.")
@known_devices_option
@server_options
@json_option
def show(
    cti: str,
    device_id: str | None,
    wait: float,
    proof: Path | None,
    server: str,
    token_file: Path | None,
    as_json: bool,
) -> None:
    """Show one command: its state, its history, and what the device answered.

    CTI is the counter in the signed command, 16 hex digits; `cmd send` and `cmd list` print it.
    """
    with connect(server, token_file) as api:
        command = api.command(cti, device_id)
        command = watch(api, command, wait, _command_output.Stream(quiet=True))
        if proof is not None:
            evidence.complete(proof, command, known_of(api))
    emit(command, as_json, _command_output.whole)


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
    """Withdraw a command that has not been sent yet.

    A command that the broker or the device has taken cannot be withdrawn: exit code 1.
    """
    with connect(server, token_file) as api:
        command = api.cancel_command(cti, device_id)
    emit(command, as_json, lambda value: say(f"{value['opcode']} for {value['device']} is cancelled; it was not sent."))


@cmd.command(
    epilog="""\b
Examples:
  tidegate cmd ops gate-7 --key keys/diagnose.jwk
  tidegate cmd ops gate-7
  tidegate cmd ops gate-7 --json"""
)
@device_argument
@_key_option
@_wait_option
@identity_options
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

    With a key this asks the device itself (by the opcode `ops`); without one it shows the server's copy of the last
    answer.
    """
    with connect(server, token_file) as api:
        if key_files:
            end = time.monotonic() + wait
            judge = identities(api, as_json)
            device = ready_device(api, judge, device_id, wait, quiet=True)
            command = Sender(api, key_files, identities=judge).send(device, Request("ops", {}))
            command = watch(api, command, left(end), _command_output.Stream(quiet=True))
            if command["outcome"] != "done":
                emit(command, as_json, lambda value: _command_output.ended(value, 0))
                raise SystemExit(1)
        else:
            command = api.opcodes(device_id)["asked"]
            if command is None:
                raise TidegateError(
                    f"the server has no answer of {device_id} to ops", "Ask the device itself: name a key with --key"
                )
    source = "device" if key_files else "server"
    answer = {
        "device": command["device"],
        "source": source,
        "at": command["ended"],
        "opcodes": _command_output.offered(command),
    }
    emit(answer, as_json, _command_output.opcodes)


@cmd.command(
    epilog="""\b
Examples:
  tidegate cmd verify reboot.evidence --trust trust.cbor
  tidegate cmd verify reboot.evidence --device-key 3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"""
)
@click.argument("path", metavar="FILE", type=FILE)
@click.option("--trust", "trust_file", type=FILE, help="Trust store: that the command was signed by its keys, too.")
@click.option("--device-key", metavar="HEX", help="The device's public key. Default: by its id, or known here.")
@known_devices_option
@json_option
def verify(path: Path, trust_file: Path | None, device_key: str | None, as_json: bool) -> None:
    """Verify the evidence in FILE, from `cmd send --proof`, without a server: who was asked what, and what it answered.

    Exit code 1 if the device's key did not sign exactly this.
    """
    found = evidence.load(path)
    store = trust_store.load(trust_file) if trust_file else None
    said = evidence.verify(found, evidence.key_for(found, device_key, known_file()), store)
    emit(said, as_json, lambda value: facts(value, title=f"{path} is signed by {value['device']}"))
