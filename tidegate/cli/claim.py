"""`tidegate device claim` and related commands: how a board becomes a device, and how it stops being one."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click

from tidegate import enrolment
from tidegate.cli._common import FILE, connect, emit, json_option, rows, say, server_options
from tidegate.cli._device_names import device_argument
from tidegate.cli._identities import identities, identity_options, known_devices_option, known_of, remember
from tidegate.client.server import Server
from tidegate.commands.identity import NotProven
from tidegate.errors import TidegateError
from tidegate.files import check_folder, read_limited, write_atomic
from tidegate.trust import store as trust_store

_COLUMNS = {
    "id": "CLAIM",
    "state": "STATE",
    "for": "FOR",
    "group": "GROUP",
    "board": "BOARD",
    "expires": "EXPIRES",
    "used_by": "USED BY",
}
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class Seconds(click.ParamType):
    """A time span: 90, 90s, 30m, 12h, 7d."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        found = re.fullmatch(r"([0-9]{1,9})([smhd]?)", value)
        if found is None:
            self.fail(f"{value!r} is not a time span; write 90s, 30m, 12h or 7d", param, ctx)
        return int(found[1]) * _UNITS[found[2] or "s"]


@click.command(
    epilog="""\b
Examples:
  tidegate device claim --trust trust.cbor --out gate-7.claim --name gate-7
  tidegate device claim --trust trust.cbor --out pump.claim --group pumps --board qemu_mps2 --expires 12h
  tidegate device claim --trust trust.cbor --out again.claim --device gate-7"""
)
@click.option("--trust", "trust_file", type=FILE, required=True, help="The only trust store that the board may accept.")
@click.option("--out", type=FILE, help="Write the claim there (0600) instead of showing it.")
@click.option("--device", metavar="ID", help="Only for this device: new credentials, or back after a revocation.")
@click.option("--name", help="The device's name. Default: none but its id.")
@click.option("--group", help="The device's group. Default: default.")
@click.option("--board", help="Only for boards of this kind.")
@click.option("--product", help="Only for this product.")
@click.option("--expires", "expires_s", type=Seconds(), default="7d", show_default=True, help="How long it is valid.")
@identity_options
@server_options
@json_option
def claim(
    trust_file: Path,
    out: Path | None,
    expires_s: int,
    server: str,
    token_file: Path | None,
    as_json: bool,
    **restrictions: Any,
) -> None:
    """Make a claim: the right of one board to become a device, once.

    Put it on the board with `tidegate flash --claim`, or type it at the board's REPL.
    """
    store = read_limited(trust_file, trust_store.MAX_SIZE, "trust store")
    trust_store.decode(store)
    if out:
        check_folder(out)
    given = {name: value for name, value in restrictions.items() if value is not None}
    with connect(server, token_file) as api:
        answer = api.new_claim({**given, "expires_s": expires_s})
        if "device" in given:
            _check_device(api, str(given["device"]), answer, as_json)
        elif given.get("name"):
            remember(api, None, name=str(given["name"]), claim=str(answer["id"]))
    text = enrolment.complete(answer.pop("claim"), store, answer.get("device") if "device" in given else None).text
    if out:
        try:
            write_atomic(out, text.encode() + b"\n", mode=0o600)
        except TidegateError as error:
            raise TidegateError(
                f"{error.message}, so the claim {answer['id']} is lost",
                f"Revoke it with `tidegate device unclaim {answer['id']}` and make another",
            ) from error
        answer["file"] = str(out)
    else:
        answer["claim"] = text

    def show(value: dict[str, Any]) -> None:
        owner = f" of {value['device']}" if value["device"] else ""
        say(f"Claim {value['id']}{owner}, valid for one board until {value['expires']}")
        say(f"Claim file: {out}" if out else f"Claim, shown only now: {text}")

    emit(answer, as_json, show)


def _check_device(api: Server, word: str, answer: dict[str, Any], as_json: bool) -> None:
    """The claim must be for the device that was named: the board takes the id that the claim says."""
    try:
        identities(api, as_json).check(word, {"id": answer["device"], "name": word})
    except NotProven:
        pass  # no birth is shown here, and none is needed
    except TidegateError as error:
        api.revoke_claim(answer["id"])
        raise TidegateError(f"{error.message}; the claim is revoked", error.remedy) from error


@click.command(
    epilog="""\b
Examples:
  tidegate device claims
  tidegate device claims --json"""
)
@server_options
@json_option
def claims(server: str, token_file: Path | None, as_json: bool) -> None:
    """List claims, newest first: open, used, expired and revoked ones."""
    with connect(server, token_file) as api:
        answer = api.claims(500)

    def show(value: dict[str, Any]) -> None:
        lines = [{**entry, "for": entry["device"] or entry["name"]} for entry in value["claims"]]
        rows(lines, _COLUMNS, "No claim was made. Make one with `tidegate device claim`.")

    emit(answer, as_json, show)


@click.command(
    epilog="""\b
Examples:
  tidegate device unclaim 0123456789abcdef"""
)
@click.argument("claim_id", metavar="CLAIM")
@server_options
@json_option
def unclaim(claim_id: str, server: str, token_file: Path | None, as_json: bool) -> None:
    """Revoke the open claim CLAIM (see `device claims`): no board can use it any more."""
    with connect(server, token_file) as api:
        answer = api.revoke_claim(claim_id)
    emit(answer, as_json, lambda value: say(f"Claim {value['id']} is revoked"))


@click.command(
    epilog="""\b
Examples:
  tidegate device revoke gate-7"""
)
@device_argument
@server_options
@json_option
def revoke(device_id: str, server: str, token_file: Path | None, as_json: bool) -> None:
    """Revoke device ID at once: its connection is cut, its credentials, offers and waiting commands are void.

    It stays on the list. `device claim --device ID` admits it again.
    """
    with connect(server, token_file) as api:
        answer = api.revoke_device(device_id)
    emit(answer, as_json, lambda value: say(f"{_called(value)} is revoked"))


@click.command(
    epilog="""\b
Examples:
  tidegate device rename 5d2c60b6dd3a9b6f0e6c8e4f8e0f2b1a gate-7
  tidegate device rename gate-7 gate-8"""
)
@device_argument
@click.argument("name")
@known_devices_option
@server_options
@json_option
def rename(device_id: str, name: str, server: str, token_file: Path | None, as_json: bool) -> None:
    """Give device ID the name NAME, which may be used like its id. An empty NAME removes the name."""
    with connect(server, token_file) as api:
        book = known_of(api)
        before = book.find(device_id)
        answer = api.rename_device(device_id, name or None)
        expected = before.id if before is not None and before.id is not None else device_id
        if answer["id"] == expected:  # else its next use asks
            book.note_name(expected, name or None)
    emit(answer, as_json, lambda value: say(f"{value['id']} is called {value['name'] or 'by its id'}"))


@click.command(
    "set",
    epilog="""\b
Examples:
  tidegate device set cool-1 --product acme-cooler
  tidegate device set cool-1 --product acme-cooler --board rpi_pico_w""",
)
@device_argument
@click.option("--product", help="What it is; default: what it was registered as.")
@click.option("--board", help="What it runs on; default: what it was registered as.")
@server_options
@json_option
def set_(
    device_id: str, product: str | None, board: str | None, server: str, token_file: Path | None, as_json: bool
) -> None:
    """Put right what device ID was registered as. It is offered from then on what that product and board are."""
    if product is None and board is None:
        raise click.UsageError("Name --product, --board or both.")
    with connect(server, token_file) as api:
        before = api.device(device_id)
        answer = api.change_product(before["id"], board or before["board"], product or before["product"])
    emit(answer, as_json, lambda value: say(f"{_called(value)} is {value['product']} on {value['board']}"))


def _called(device: dict[str, Any]) -> str:
    return f"{device['name']} ({device['id']})" if device["name"] else str(device["id"])
