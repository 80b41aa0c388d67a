"""`tidegate server`: backups of a server, what is made of them, whether its data is whole, the move to PostgreSQL."""

from __future__ import annotations

import signal
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from ota_server.backup import check as checks
from ota_server.backup import copy, create, move, restore
from ota_server.cli._common import data_option, me, payloads_option
from ota_server.cli.webhook import webhook
from ota_server.config import Config
from tidegate import audit_chain
from tidegate.cli._common import ANY_PATH, FILE, Failure, complain, emit, facts, json_option, progress, say


@click.group()
@click.pass_context
def server(context: click.Context) -> None:
    """Back up, check and restore a server on this machine, move it to PostgreSQL, and have it tell others."""
    before = signal.signal(signal.SIGTERM, _leave)  # what is half done is removed
    context.call_on_close(lambda: signal.signal(signal.SIGTERM, before))


@server.command("backup")
@data_option
@payloads_option
@click.option("--keep", type=click.IntRange(1, 10_000), help="OUT is a folder: remove all its backups but the newest.")
@click.argument("out", type=ANY_PATH)
@json_option
def backup(data: Path, payloads: str, keep: int | None, out: Path, as_json: bool) -> None:
    """Save everything a server needs to OUT, while it runs: database, payloads, secrets, audit log.

    OUT is a new file, or a folder that gets one with the time in its name. It appears whole or not at all, readable for
    its owner only: whoever has it has the server's secrets. A database on PostgreSQL is saved by pg_dump; its address
    is in TIDEGATE_DATABASE_URL, as for `tidegate serve`. Payloads are in the backup wherever the server has them: name
    their place as for `tidegate serve`.

    \b
    Examples:
      tidegate server backup tidegate.tar
      tidegate server backup --data /var/lib/tidegate --keep 14 /var/backups/tidegate
    """
    with progress("backup", quiet=as_json) as tell:
        made = create.create(Config(data=data, payload_store=payloads), out, keep, tell)
    emit(
        {
            "backup": str(made.path),
            "bytes": made.size,
            "payloads": made.payloads,
            "rows": sum(made.facts.rows.values()),
            "audit_entries": made.facts.rows["audit"],
            "removed": [str(one) for one in made.removed],
        },
        as_json,
        facts,
    )


@server.command("restore")
@data_option
@click.argument("backup", type=FILE)
@json_option
def restore_(data: Path, backup: Path, as_json: bool) -> None:
    """Make a server of BACKUP in --data, a new or empty folder; it holds all of the backup then, or nothing.

    Of a server on PostgreSQL the database that TIDEGATE_DATABASE_URL names is filled; it must be empty. What happened
    after the backup is not known to the server any more: tokens and devices revoked since are valid again. Payloads are
    restored to DATA/payloads; `tidegate server copy-payloads` brings them to a store elsewhere.

    \b
    Example:
      tidegate server restore --data restored tidegate.tar
    """
    config = Config(data=data)
    with progress("restore", quiet=as_json) as tell:
        done = restore.restore(config, backup, me(), tell)
    own = audit_chain.own_file(str(data.resolve()))
    if own.exists():  # heads of what came after the backup would look like a log that was cut
        own.replace(own.with_suffix(f".before-{done.facts.created.replace(':', '')}"))
    result = {"data": str(data), "backup_of": done.facts.created, "payloads": done.payloads}
    emit({**result, "rows": sum(done.facts.rows.values()), "audit_entries": done.facts.rows["audit"]}, as_json, facts)


@server.command("check")
@data_option
@payloads_option
@click.argument("backup", type=FILE, required=False)
@json_option
@click.pass_context
def check(context: click.Context, data: Path, payloads: str, backup: Path | None, as_json: bool) -> None:
    """Look whether a server's data is whole, running or not; or whether BACKUP is.

    Reads every payload file and compares it with its row, follows the audit log from its first entry, and has the
    database check itself. Exit code 1 if something is wrong; notes are harmless.

    \b
    Examples:
      tidegate server check
      tidegate server check --json tidegate.tar
    """
    with progress("check", quiet=as_json) as tell:
        if backup is not None:
            found = checks.check_backup(backup, tell)
        else:
            heads = audit_chain.own_heads(str(data.resolve()))
            found = checks.check(Config(data=data, payload_store=payloads), heads, tell)
    emit(asdict(found), as_json, _show)
    if found.problems:
        context.exit(Failure.exit_code)


@server.command("copy-payloads")
@data_option
@payloads_option
@click.option("--to", "target", required=True, metavar="DIR|s3://BUCKET/PREFIX", help="Where they are copied to.")
@json_option
def copy_payloads(data: Path, payloads: str, target: str, as_json: bool) -> None:
    """Copy a server's payloads to another store, while it runs; then start it with --payloads naming that one.

    What is there already, whole, is not copied again, so that the command can be repeated: before the server is
    stopped, and once more after.

    \b
    Examples:
      tidegate server copy-payloads --to /mnt/payloads
      tidegate server copy-payloads --to s3://releases/tidegate
    """
    source, to = Config(data=data, payload_store=payloads), Config(data=data, payload_store=target)
    with progress("copy", quiet=as_json) as tell:
        copied = copy.copy_payloads(source, to, tell)
    emit(asdict(copied), as_json, facts)


@server.command("move")
@data_option
@json_option
def move_(data: Path, as_json: bool) -> None:
    """Move a server's rows from its SQLite file to the empty PostgreSQL that TIDEGATE_DATABASE_URL names.

    Stop the server first. All rows go in one transaction and are counted, and the audit log is followed, before it is
    committed; after an interruption, run it again. The file is called tidegate.db.moved then; payloads and secrets
    stay where they are.

    \b
    Example:
      TIDEGATE_DATABASE_URL=postgresql+psycopg://tidegate@db/tidegate tidegate server move
    """
    with progress("move", quiet=as_json) as tell:
        moved = move.move(Config(data=data), me(), tell)
    result: dict[str, Any] = {"rows": sum(moved.rows.values()), "tables": len(moved.rows), "moved_before": moved.again}
    emit(result, as_json, facts)


server.add_command(webhook)


def _show(found: dict[str, Any]) -> None:
    facts(found["looked_at"])
    for note in found["notes"]:
        say(f"note: {note}")
    for problem in found["problems"]:
        complain(f"wrong: {problem}")
    if not found["problems"]:
        say("all is whole")


def _leave(_signal: int, _frame: Any) -> None:
    raise SystemExit(128 + signal.SIGTERM)
