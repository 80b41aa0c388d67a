"""`tidegate token`: who may do what over the API."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from sqlalchemy import select

from ota_server.cli._common import data_option, me, note_head
from ota_server.config import Config
from ota_server.first_start import prepare
from ota_server.security import audit, tokens
from ota_server.security.people import ROLES
from ota_server.store import now_ms
from ota_server.store.clock import iso
from ota_server.store.models import Token
from tidegate.cli._common import FILE, emit, json_option, say
from tidegate.errors import TidegateError
from tidegate.files import write_atomic


@click.group()
def token() -> None:
    """Make, list and revoke API tokens of the server on this machine."""


@token.command("new")
@data_option
@click.option("--name", default="", help="For the list and the audit log; default: the scopes.")
@click.option("--scope", "scopes", multiple=True, type=click.Choice(tokens.SCOPES), help="May be repeated.")
@click.option("--role", type=click.Choice(tuple(ROLES)), help="For a person at the page: the scopes of this role.")
@click.option(
    "--channel", "channels", multiple=True, help="With --scope publish: only into this channel; may be repeated."
)
@click.option("--out", type=FILE, help="Write it to this file (0600), print nothing.")
@json_option
def token_new(
    data: Path,
    name: str,
    scopes: tuple[str, ...],
    role: str | None,
    channels: tuple[str, ...],
    out: Path | None,
    as_json: bool,
) -> None:
    """Make a token and show it: this is the only time that it is readable.

    A viewer may read; an operator also looks after devices, commands and rollouts; a publisher publishes and rolls
    out; an admin may do everything.

    \b
    Examples:
      tidegate token new --role operator --name ada
      tidegate token new --scope publish --name ci --out ci.token
      tidegate token new --scope publish --channel candidate --name ci
    """
    if role is not None:
        scopes = (*scopes, *ROLES[role])
    if not scopes:
        raise TidegateError("a token without a scope may do nothing", "Give --scope, or --role for a person")
    scopes = tokens.in_channels(tuple(dict.fromkeys(scopes)), channels)
    store = prepare(Config(data=data))
    with store.write() as session:
        label = (name or "+".join(sorted(set(scopes))))[:64]
        secret = tokens.new_token(session, label, scopes)
        audit.record(session, me(), "token.new", label, scopes=sorted(set(scopes)))
        if out is not None:
            write_atomic(out, secret.encode() + b"\n", mode=0o600)
    note_head(store, data)
    made = {"token": secret} if out is None else {"file": str(out)}
    if as_json or out is None:
        emit({"name": label, "scopes": sorted(set(scopes)), **made}, as_json, lambda value: say(value["token"]))


@token.command("list")
@data_option
@json_option
def token_list(data: Path, as_json: bool) -> None:
    """Show names and scopes; the tokens themselves are not stored.

    \b
    Example:
      tidegate token list --json
    """
    with prepare(Config(data=data)).read() as session:
        rows: list[dict[str, Any]] = [
            {
                "id": row.id,
                "name": row.name,
                "scopes": row.scopes.split(),
                "created": iso(row.created_at),
                "revoked": row.revoked_at and iso(row.revoked_at),
            }
            for row in session.scalars(select(Token).order_by(Token.id))
        ]

    def show(rows: list[dict[str, Any]]) -> None:
        for row in rows:
            ended = f"  revoked {row['revoked']}" if row["revoked"] else ""
            say(f"{row['id']:>4}  {row['name']:<24} {' '.join(row['scopes']):<24} {row['created']}{ended}")

    emit(rows, as_json, show)


@token.command("revoke")
@data_option
@click.argument("number", type=click.IntRange(1, 2**63 - 1))
@json_option
def token_revoke(data: Path, number: int, as_json: bool) -> None:
    """Revoke the token with this number (see `token list`), at once.

    \b
    Example:
      tidegate token revoke 3
    """
    store = prepare(Config(data=data))
    with store.write() as session:
        row = session.get(Token, number)
        if row is None or row.revoked_at is not None:
            raise TidegateError(f"token {number} does not exist or was revoked", "See: tidegate token list")
        row.revoked_at = now_ms()
        audit.record(session, me(), "token.revoke", row.name, id=number)
        revoked = {"id": number, "name": row.name, "revoked": iso(row.revoked_at)}
    note_head(store, data)
    emit(revoked, as_json, lambda _: say(f"token {number} is revoked"))
