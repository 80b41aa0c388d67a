"""`tidegate device known`: what this machine knows of devices, whatever servers say (docs/known-devices.md)."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from tidegate import names
from tidegate.cli._common import FILE, emit, facts, json_option, rows, say, server_option
from tidegate.cli._identities import known_devices_option, known_file
from tidegate.commands.known_devices import KnownDevice, KnownDevices, now, read
from tidegate.errors import TidegateError

_COLUMNS = {"id": "DEVICE", "name": "NAME", "key": "KEY", "first_seen": "FIRST SEEN", "server": "SERVER"}
_SERVER = server_option("The server whose names they are; nothing is sent to it.")


@click.group()
def known() -> None:
    """List, show, add, forget and import what this machine knows of devices: ids, names, keys."""


@known.command(
    "list",
    epilog="""\b
Examples:
  tidegate device known list
  tidegate device known list --json""",
)
@known_devices_option
@json_option
def list_(as_json: bool) -> None:
    """List the known devices of all servers."""
    found = [asdict(one) for one in read(known_file())]

    def show(value: list[dict[str, Any]]) -> None:
        lines = [{**one, "id": one["id"] or f"claim {one['claim']}", "key": (one["key"] or "")[:16]} for one in value]
        rows(lines, _COLUMNS, "No device is known here. The first use of one makes it known.")

    emit(found, as_json, show)


@known.command(
    epilog="""\b
Examples:
  tidegate device known show gate-7"""
)
@click.argument("word", metavar="ID")
@_SERVER
@known_devices_option
@json_option
def show(word: str, server: str, as_json: bool) -> None:
    """Show what is known of device ID (or name): its whole key, and since when."""
    emit(asdict(_found(_opened(server), word)), as_json, lambda value: facts(value))


@known.command(
    epilog="""\b
Examples:
  tidegate device known add gate-7 7c5ca0e59c2b1b0e4cbd07d3b0d1f6a2"""
)
@click.argument("name")
@click.argument("device", metavar="ID")
@click.option("--key", metavar="HEX", help="Its public key, for an id that is not the key's thumbprint.")
@_SERVER
@known_devices_option
@json_option
def add(name: str, device: str, key: str | None, server: str, as_json: bool) -> None:
    """Know device ID, as its console shows it, by the name NAME."""
    book = _opened(server)
    for what, word in ((names.DEVICE_NAME, name), (names.DEVICE_ID, device)):
        if not what.fits(word):
            raise TidegateError(what.refusal(word), what.remedy)
    taken, before = book.find(name), book.by_id(device)
    if taken is not None and taken.id not in (None, device):
        raise TidegateError(f"{name} is device {taken.id} here", f"First: tidegate device known forget {name}")
    key = key or (before.key if before else None)
    new = KnownDevice(book.server, device, name, key, before.first_seen if before else now())
    book.put(new)
    emit(asdict(new), as_json, lambda value: say(f"{name} is device {device}"))


@known.command(
    epilog="""\b
Examples:
  tidegate device known forget gate-7"""
)
@click.argument("word", metavar="ID")
@_SERVER
@known_devices_option
@json_option
def forget(word: str, server: str, as_json: bool) -> None:
    """Forget device ID (or name): its next use is a first one."""
    book = _opened(server)
    gone = _found(book, word)
    book.forget(word)
    emit(asdict(gone), as_json, lambda value: say(f"{value['name'] or value['id']} is forgotten"))


@known.command(
    "import",
    epilog="""\b
Examples:
  tidegate device known import fleet.known-devices""",
)
@click.argument("path", metavar="FILE", type=FILE)
@known_devices_option
@json_option
def import_(path: Path, as_json: bool) -> None:
    """Add what FILE knows, a file of the same form from another machine. What differs from what is known is refused."""
    if not path.exists():
        raise TidegateError(f"file of known devices {path} does not exist", "Check the path")
    mine = {server: _opened(server) for server in {one.server for one in read(path)}}
    new = []
    for one in read(path):
        by_id = mine[one.server].by_id(one.id) if one.id is not None else None
        by_name = mine[one.server].find(one.name) if one.name is not None else None
        same = by_name is None or by_name.id == one.id
        if not same or (by_id is not None and by_id.key and one.key and by_id.key != one.key):
            raise TidegateError(
                f"{path} and this machine differ about {one.called}; nothing was imported",
                f"Find out who is right, then: tidegate device known forget {one.called}",
            )
        if by_id is None:
            new.append(one)
    for server, book in mine.items():
        book.put(*(one for one in new if one.server == server))
    emit({"imported": len(new)}, as_json, lambda value: say(f"{value['imported']} devices are new here"))


def _opened(server: str) -> KnownDevices:
    return KnownDevices(known_file(), server if "://" in server else f"http://{server}")


def _found(book: KnownDevices, word: str) -> KnownDevice:
    found = book.find(word)
    if found is None:
        raise TidegateError(f"{word} is not known here for {book.server}", "See: tidegate device known list")
    return found
