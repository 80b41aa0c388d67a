"""`tidegate cmd`: signed diagnostic commands."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import click

from tidegate import command as commands
from tidegate import keys
from tidegate.cli.common import FILE, connect, emit, facts, json_option, progress, say, server_options
from tidegate.client import Server
from tidegate.errors import TidegateError

_OPEN = ("pending", "verified", "uplinked")
_POLL = 0.25  # s, grows to a second


@click.group()
def cmd() -> None:
    """Ask devices: signed here, relayed by the server, carried out once."""


@cmd.command(
    epilog="""\b
Examples:
  tidegate cmd send gate-7 info --key keys/command.jwk
  tidegate cmd send gate-7 reboot delay_s=5 --key keys/command.jwk --wait 60

\b
An argument is NAME=VALUE; the value is read as JSON if it is JSON, else as text."""
)
@click.argument("device_id", metavar="ID")
@click.argument("opcode")
@click.argument("arguments", metavar="[NAME=VALUE]...", nargs=-1)
@click.option(
    "--key",
    "key_files",
    type=FILE,
    multiple=True,
    required=True,
    help="Private command key; repeat it where the trust store wants several signatures.",
)
@click.option(
    "--wait", type=click.FloatRange(0, 3600), default=30, show_default=True, help="Seconds to wait for the answer."
)
@click.option(
    "--expires",
    type=click.IntRange(1, commands.MAX_LIFETIME),
    default=300,
    show_default=True,
    help="Seconds until a device with a clock refuses it.",
)
@server_options
@json_option
def send(
    device_id: str,
    opcode: str,
    arguments: tuple[str, ...],
    key_files: tuple[Path, ...],
    wait: float,
    expires: int,
    server: str,
    token_file: Path | None,
    as_json: bool,
) -> None:
    """Sign OPCODE for device ID, send it, and print the decoded answer.

    Exit code 1 if the device refused it, failed at it, or did not answer in time.
    """
    named = dict(_argument(text) for text in arguments)
    signers = [keys.load(file) for file in key_files]
    commands.signing_role(signers)
    with connect(server, token_file) as api:
        nonce = api.device(device_id).get("nonce")
        if not nonce:
            raise TidegateError(
                f"device {device_id} has not been born yet: the server has no nonce of it",
                "Wait until it connects; `tidegate device show` tells",
            )
        now = int(time.time())
        request = commands.Command(
            audience=device_id,
            opcode=opcode,
            arguments=named,
            cti=max(commands.next_counter(file) for file in key_files),
            issued=now,
            expires=now + expires,
            nonce=bytes.fromhex(nonce),
        )
        answer = api.send_command(device_id, commands.make(signers, request))
        with progress(f"waiting for {device_id}", quiet=as_json) as tell:
            answer = _await(api, answer, request.cti.hex(), wait, tell)
    emit(answer, as_json, lambda value: _show(device_id, opcode, value))
    if answer["outcome"] != "done" and not (wait == 0 and answer["state"] in _OPEN):
        raise SystemExit(1)


def _argument(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise click.BadParameter(f"{text!r} is not NAME=VALUE", param_hint="argument")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def _await(api: Server, answer: dict[str, Any], cti: str, wait: float, tell: Any) -> dict[str, Any]:
    start, pause = time.monotonic(), _POLL
    while answer["state"] in _OPEN:
        waited = time.monotonic() - start
        if waited >= wait:
            return answer
        tell(int(waited * 10), max(1, int(wait * 10)), answer["state"])
        time.sleep(min(pause, wait - waited))
        pause = min(pause * 1.5, 1.0)
        answer = api.command(cti, answer["device"])
    return answer


def _show(device_id: str, opcode: str, answer: dict[str, Any]) -> None:
    state = answer["state"]
    result = answer.get("result") or {}
    if state in _OPEN:
        say(f"{opcode} is {state}; {device_id} has not answered. Its counter is {answer['cti']}.")
    elif answer["outcome"] == "done":
        if answer.get("output"):
            click.echo(answer["output"], nl=False)
        facts(result.get("answer") or {"answer": "done"}, title=f"{device_id} answers {opcode}")
    else:
        ended = "failed at" if answer["outcome"] == "failed" else state
        say(f"{opcode} was {ended} by {device_id}: {answer.get('why') or 'no reason given'}")
