"""`tidegate trust`: the trust store of boards and server, and how it is changed over the air."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click

from tidegate.cli._common import FILE, connect, emit, facts, hold_option, json_option, say, server_options
from tidegate.cli._signing import signing_options
from tidegate.errors import TidegateError
from tidegate.files import write_atomic
from tidegate.release import inspect_file
from tidegate.release.inspect import trust_facts
from tidegate.trust import keys, rotation
from tidegate.trust import store as stores


class _Threshold(click.ParamType):
    """ROLE=NUMBER as a pair."""

    name = "role=n"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, int]:
        found = re.fullmatch(r"([a-z]+)=([0-9]{1,2})", str(value))
        if not found or found[1] not in keys.ROLES:
            self.fail(f"{value!r} is not ROLE=NUMBER with a role of {', '.join(keys.ROLES)}", param, ctx)
        return found[1], int(found[2])


_THRESHOLDS = click.option(
    "--threshold", "thresholds", type=_Threshold(), multiple=True, help="How many keys of a role must sign; repeat it."
)
_OLD = click.option("--old", "old_file", type=FILE, required=True, help="The trust store of the boards now.")


@click.group()
def trust() -> None:
    """Make, show and change trust stores: the public keys a board accepts, each with its role.

    A board accepts a new store over the air if the root keys of the old store and of the new one signed it.
    """


@trust.command(
    epilog="""\b
Examples:
  tidegate trust new --out trust.cbor keys/release.jwk.pub keys/command.jwk.pub keys/root.jwk.pub
  tidegate trust new --threshold root=2 --out trust.cbor keys/release.jwk.pub keys/root-1.jwk.pub keys/root-2.jwk.pub"""
)
@click.option("--out", type=FILE, required=True, help="Trust store to write.")
@click.option("--version", type=click.IntRange(1, 2**32 - 1), default=1, show_default=True, help="Its number.")
@_THRESHOLDS
@click.argument("key_files", metavar="KEY...", nargs=-1, required=True, type=FILE)
@json_option
def new(
    out: Path, version: int, thresholds: tuple[tuple[str, int], ...], key_files: tuple[Path, ...], as_json: bool
) -> None:
    """Make the first trust store, of the public halves of the KEYs. It is flashed; later ones go over the air."""
    if out.exists():
        raise TidegateError(
            f"{out} exists; a store that boards have is changed with `tidegate trust rotate`",
            "Choose another name or move it away",
        )
    store = stores.make([keys.load(file) for file in key_files], version, dict(thresholds))
    write_atomic(out, stores.encode(store))
    emit(inspect_file(out) | {"file": str(out)}, as_json, facts)


@trust.command(
    epilog="""\b
Examples:
  tidegate trust show trust.cbor
  tidegate trust show trust-2.update"""
)
@click.argument("file", type=FILE)
@json_option
def show(file: Path, as_json: bool) -> None:
    """Show the keys in FILE, a trust store or a trust update; nothing is verified."""
    found = inspect_file(file)
    if found["kind"] not in ("trust store", "trust update"):
        raise TidegateError(f"{file} is a {found['kind']}, not a trust store", "Name a trust store or a trust update")
    emit(found, as_json, facts)


@trust.command(
    epilog="""\b
Examples:
  tidegate trust rotate trust.cbor --add keys/release-2.jwk.pub --out trust-2.update
  tidegate trust rotate trust.cbor --add keys/release-2.jwk.pub --remove 0123456789abcdef --out trust-2.update

\b
A removed key is revoked for good: no later store can have it again."""
)
@click.argument("old_file", metavar="OLD", type=FILE)
@click.option("--add", "added", type=FILE, multiple=True, help="Key to add; repeat it.")
@click.option("--remove", "removed", metavar="KID|KEY", multiple=True, help="Key to drop, by id or file; repeat it.")
@_THRESHOLDS
@click.option("--out", type=FILE, required=True, help="Trust update to write, for the root keys to sign.")
@json_option
def rotate(
    old_file: Path,
    added: tuple[Path, ...],
    removed: tuple[str, ...],
    thresholds: tuple[tuple[str, int], ...],
    out: Path,
    as_json: bool,
) -> None:
    """Propose the version after the trust store OLD, unsigned; `tidegate trust sign` adds signatures."""
    if not added and not removed and not thresholds:
        raise click.UsageError("Nothing would change: name what with --add, --remove or --threshold.")
    if out.exists():
        raise TidegateError(
            f"{out} exists; signatures in it would be lost",
            "Choose another name, or remove it if it was never sent",
        )
    old = stores.load(old_file)
    store = rotation.succeed(old, [keys.load(file) for file in added], map(_kid, removed), dict(thresholds))
    update = rotation.propose(store)
    write_atomic(out, update)
    _show_proposal(update, old, out, as_json)


@trust.command(
    epilog="""\b
Examples:
  tidegate trust sign trust-2.update --key keys/root.jwk
  tidegate trust sign trust-2.update --key keys/root-1.jwk --key keys/root-2.jwk
  tidegate trust sign trust-2.update --signer './sign-with-token.sh' --public keys/root-1.jwk.pub"""
)
@click.argument("file", metavar="UPDATE", type=FILE)
@signing_options("Root")
@json_option
def sign(file: Path, signers: list[keys.Key], as_json: bool) -> None:
    """Add root signatures to UPDATE. The file may travel from one key holder to the next."""
    update = rotation.sign(rotation.load(file), signers)
    write_atomic(file, update)
    signed = [kid.hex() for kid in rotation.signers(update)]
    version = rotation.store_of(update).version
    emit(
        {"file": str(file), "version": version, "signed_by": signed},
        as_json,
        lambda _: say(f"{file}: version {version}, signed by {', '.join(signed)}"),
    )


@trust.command(
    epilog="""\b
Examples:
  tidegate trust verify trust-2.update --old trust.cbor
  tidegate trust verify trust-2.update --old trust.cbor --out trust-2.cbor"""
)
@click.argument("file", metavar="UPDATE", type=FILE)
@_OLD
@click.option("--out", type=FILE, help="Write the new trust store here: for new boards, and for the next rotation.")
@json_option
def verify(file: Path, old_file: Path, out: Path | None, as_json: bool) -> None:
    """Check UPDATE as a board with the old trust store will."""
    store = rotation.verify(rotation.load(file), stores.load(old_file))
    if out is not None:
        write_atomic(out, stores.encode(store))
    emit(
        trust_facts(store),
        as_json,
        lambda _: say(f"{file}: boards with version {store.version - 1} will accept version {store.version}"),
    )


@trust.command(
    epilog="""\b
Examples:
  tidegate trust publish trust-2.update --server http://127.0.0.1:8080 --token-file publish.token
  tidegate trust publish trust-2.update --hold
  tidegate rollout start trust@2 --to all --waves 10%,100%"""
)
@click.argument("file", metavar="UPDATE", type=FILE)
@hold_option
@server_options
@json_option
def publish(file: Path, hold: bool, server: str, token_file: Path | None, as_json: bool) -> None:
    """Give UPDATE to the server, which checks it and sends it to the boards. Repeating it is harmless.

    With --hold only `tidegate rollout start trust@VERSION` hands it out, in waves, and the server goes on judging by
    the store before. Publish it once more without, and all boards get it.
    """
    update = rotation.load(file)
    with connect(server, token_file) as api:
        answer = api.publish_trust(update, hold=hold)

    def show(value: dict[str, Any]) -> None:
        held = f", for: tidegate rollout start trust@{value['version']}" if hold else ""
        say(f"trust store version {value['version']} is published on {server}{held}")
        for offer in value["withdrawn"]:
            say(f"  {offer['product']} {offer['version']} for {offer['board']} is no longer offered: too few of its")
            say("  signatures are by remaining keys; sign and publish a release with a newer sequence number")

    emit(answer, as_json, show)


def _kid(text: str) -> bytes:
    """A key id from its 16 hex digits, or from a key file."""
    if re.fullmatch(r"[0-9a-fA-F]{16}", text):
        return bytes.fromhex(text)
    if not Path(text).exists():
        raise TidegateError(
            f"{text!r} is neither a key id (16 hex digits) nor a key file", "`tidegate trust show` names the keys"
        )
    return keys.load(text).kid


def _show_proposal(update: bytes, old: stores.TrustStore, out: Path, as_json: bool) -> None:
    store, missing = rotation.store_of(update), rotation.missing(update, old)

    def show(_: dict[str, Any]) -> None:
        say(f"{out}: version {store.version}, not signed yet")
        for name, version in (("old", old.version), ("new", store.version)):
            say(f"  {missing[name]} more signatures by root keys of version {version}")

    emit({"file": str(out), **trust_facts(store), "missing": missing}, as_json, show)
