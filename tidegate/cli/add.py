"""`tidegate device add`: registers a device, or all of a list."""

from __future__ import annotations

import difflib
import json
from pathlib import Path
from typing import Any

import click

from tidegate import boards, library, project
from tidegate.cli._common import (
    FILE,
    board_here,
    complain,
    connect,
    emit,
    json_option,
    product_option,
    progress,
    say,
    server_options,
)
from tidegate.cli._identities import known_devices_option, remember, remember_all
from tidegate.errors import TidegateError
from tidegate.files import check_folder, write_atomic
from tidegate.registration import batches, credentials, lists


@click.command(
    epilog="""\b
Examples:
  tidegate device add gate-7 --board qemu_mps2 --out gate-7.credentials.json
  tidegate device add --from hall.csv --board qemu_mps2 --out hall.credentials.json
A list is CSV with a heading (id,board,product) or JSON Lines; board and product may be given for all. It is
registered in requests of 500, each whole or not at all; to go on after an error, give the same command again."""
)
@click.argument("device_id", metavar="[ID]", required=False)
@click.option("--from", "list_file", type=FILE, help="Register all devices of this list in place of ID; needs --out.")
@click.option(
    "--board", help="Its board, by default the project's if that has one; with --from, of devices whose line has none."
)
@product_option("The product it runs; with --from, of devices whose line has none.")
@click.option("--out", type=FILE, help="Write user, password and CoAP key there (0600) instead of showing them.")
@known_devices_option
@server_options
@json_option
def add(
    device_id: str | None,
    list_file: Path | None,
    board: str | None,
    product: str,
    out: Path | None,
    server: str,
    token_file: Path | None,
    as_json: bool,
) -> None:
    """Register device ID, or all of a list, and get MQTT passwords and CoAP keys, which the server shows only this
    once."""
    if (device_id is None) == (list_file is None):
        raise click.UsageError("Name one device, or a list of them with --from.")
    if list_file is not None:
        if out is None:
            raise click.UsageError("With --from, name the file for the credentials with --out.")
        _add_list(list_file, board, product, out, server, token_file, as_json)
        return
    _add_one(device_id or "", board or board_here(), product, out, server, token_file, as_json)


def _meant_board(board: str) -> str | None:
    """The board that is spelt nearly so, where there is none of this name here. It may be somebody's own, elsewhere."""
    try:
        folder = project.find_sources().folder
    except TidegateError:
        folder = library.folder()
    here = {*boards.names(folder), *boards.names(library.folder())}
    return None if board in here else next(iter(difflib.get_close_matches(board, here, 1)), None)


def _add_one(
    device_id: str, board: str, product: str, out: Path | None, server: str, token_file: Path | None, as_json: bool
) -> None:
    if out:
        check_folder(out)
    if not as_json and (meant := _meant_board(board)):
        complain(f"Note: there is no board {board} here. Did you mean {meant}? tidegate device set puts it right.")
    with connect(server, token_file) as api:
        answer = api.add_device(device_id, board, product)
        if (answer["id"], answer["mqtt"]["user"]) != (device_id, device_id):  # a board is who its credentials say
            raise TidegateError(
                f"the server answers with credentials of {answer['id']}, user {answer['mqtt']['user']}",
                f"Nothing was written. Look at it: tidegate device show {device_id}",
            )
        remember(api, device_id)
    if out:
        account = answer["mqtt"]  # of it no more than was asked for: a "device" in this file would be the board's id
        secrets = {"user": account["user"], "password": account["password"], "coap_key": answer["coap"]["key"]}
        write_atomic(out, json.dumps(secrets, indent=2).encode() + b"\n", mode=0o600)
        answer = {**answer, "mqtt": {"user": answer["mqtt"]["user"], "file": str(out)}, "coap": {"file": str(out)}}

    def show(value: dict[str, Any]) -> None:
        say(f"{value['id']} is registered; MQTT user {value['mqtt']['user']}")
        if out:
            say(f"Credentials: {out}")
            return
        say(f"Password, shown only now: {value['mqtt']['password']}")
        say(f"CoAP key, shown only now: {value['coap']['key']}")

    emit(answer, as_json, show)


def _add_list(
    file: Path, board: str | None, product: str, out: Path, server: str, token_file: Path | None, as_json: bool
) -> None:
    listed = lists.read(file, board, product)
    check_folder(out)
    with connect(server, token_file) as api:
        kept = credentials.opened(out, api.url)
        missing = [one for one in listed if one.id not in kept.devices]
        before = len(kept.devices)
        kept.save()  # with its request, which a repetition needs, before anything is asked for

        def filed(found: list[credentials.Credentials]) -> None:
            kept.add(found)
            remember_all(api, [one.user for one in found])

        with progress("Registering", quiet=as_json) as tell:
            known = batches.register(api, kept.request, missing, filed, tell)
    answer = {
        "registered": len(kept.devices) - before,
        "in_file": len(listed) - len(missing),
        "known": known,
        "file": str(out),
    }

    def show(value: dict[str, Any]) -> None:
        say(f"{value['registered']} devices are registered; {value['in_file']} were in the file before")
        if value["known"]:
            say(f"{len(value['known'])} were registered before, with credentials that are not shown again")
        say(f"Credentials: {out}")

    emit(answer, as_json, show)
