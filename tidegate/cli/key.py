"""`tidegate key`: signing keys."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tidegate.cli._common import FILE, emit, facts, json_option, say
from tidegate.files import read_limited
from tidegate.trust import keys


@click.group()
def key() -> None:
    """Make and show signing keys.

    A key has one role: a release key signs what boards install, a command key signs what they execute,
    a root key signs changes of the trust store.
    """


@key.command(
    epilog="""\b
Examples:
  tidegate key new --role release --out keys/release.jwk
  tidegate key new --role command --out keys/command.jwk"""
)
@click.option("--role", type=click.Choice(sorted(keys.ROLES)), required=True, help="What the key may sign.")
@click.option("--out", type=FILE, required=True, help="Private key file; FILE.pub is written beside it.")
@json_option
def new(role: str, out: Path, as_json: bool) -> None:
    """Make a key. The private half never leaves FILE; nothing is ever overwritten."""
    made = keys.new(role)
    public = keys.save(made, out)

    def show(value: dict[str, Any]) -> None:
        say(f"{role} key {value['kid']}: private in {out} (keep it off the server), public in {public}")

    emit(_facts(made) | {"file": str(out), "public_file": str(public)}, as_json, show)


@key.command(
    epilog="""\b
Examples:
  tidegate key show keys/release.jwk.pub"""
)
@click.argument("file", type=FILE)
@json_option
def show(file: Path, as_json: bool) -> None:
    """Show the role, id and public half of a key FILE; never the private half."""
    emit(_facts(keys.load(file)), as_json, facts)


@key.command(
    "import",
    epilog="""\b
Examples:
  tidegate key import token.pem --role release --out keys/release.jwk.pub""",
)
@click.argument("file", metavar="PUBLIC", type=FILE)
@click.option("--role", type=click.Choice(sorted(keys.ROLES)), required=True, help="What the key may sign.")
@click.option("--out", type=FILE, required=True, help="Public key file to write, FILE.pub.")
@json_option
def import_(file: Path, role: str, out: Path, as_json: bool) -> None:
    """Make FILE.pub for a key whose private half is in a token or a service, which signs by --signer.

    PUBLIC is its public half as PEM or DER, or its 32 bytes.
    """
    made = keys.read_public(read_limited(file, keys.MAX_FILE, "public key"), role, str(file))
    keys.save_public(made, out)
    emit(_facts(made) | {"public_file": str(out)}, as_json, lambda _: say(f"{role} key {made.kid.hex()}: {out}"))


def _facts(key: keys.Key) -> dict[str, Any]:
    return {
        "role": key.role,
        "kid": key.kid.hex(),
        "public": key.public.hex(),
        "private": key.private is not None,
    }
