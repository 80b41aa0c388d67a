"""`tidegate trust`: the trust store that boards and the server hold."""

from __future__ import annotations

from pathlib import Path

import click

from tidegate import keys
from tidegate import trust as stores
from tidegate.cli.common import FILE, emit, facts, json_option
from tidegate.files import write_atomic
from tidegate.release.inspect import inspect


@click.group()
def trust() -> None:
    """Make and show trust stores: the public keys a board accepts, each with its role."""


@trust.command(
    epilog="""\b
Examples:
  tidegate trust new --out trust.cbor keys/release.jwk.pub keys/command.jwk.pub keys/root.jwk.pub"""
)
@click.option("--out", type=FILE, required=True, help="Trust store to write.")
@click.option("--version", type=click.IntRange(1, 2**32 - 1), default=1, show_default=True, help="Its number.")
@click.argument("key_files", metavar="KEY...", nargs=-1, required=True, type=FILE)
@json_option
def new(out: Path, version: int, key_files: tuple[Path, ...], as_json: bool) -> None:
    """Make a trust store of the public halves of the KEYs."""
    store = stores.make([keys.load(file) for file in key_files], version)
    write_atomic(out, stores.encode(store))
    emit(inspect(out) | {"file": str(out)}, as_json, facts)


@trust.command(
    epilog="""\b
Examples:
  tidegate trust show trust.cbor"""
)
@click.argument("file", type=FILE)
@json_option
def show(file: Path, as_json: bool) -> None:
    """Show the keys in a trust store FILE."""
    stores.load(file)
    emit(inspect(file), as_json, facts)
