"""`tidegate alarms`: alarms of devices."""

from __future__ import annotations

from pathlib import Path
from textwrap import indent
from typing import Any

import click

from tidegate.cli._common import connect, emit, json_option, rows, say, server_options

_COLUMNS = {"time": "TIME", "device": "DEVICE", "kind": "KIND", "reason": "REASON", "detail": "DETAIL"}


@click.group()
def alarms() -> None:
    """Alarms that devices raised: refused commands and offers, rollbacks, crashes."""


@alarms.command(
    "list",
    epilog="""\b
Examples:
  tidegate alarms list
  tidegate alarms list --device gate-7 --trace
  tidegate alarms list --device gate-7 --limit 5 --json""",
)
@click.option("--device", "device_id", metavar="ID", help="Only those of one device.")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True, help="At most so many.")
@click.option("--trace", is_flag=True, help="Show what crashed devices saved: trace, task, last log lines.")
@server_options
@json_option
def list_(device_id: str | None, limit: int, trace: bool, server: str, token_file: Path | None, as_json: bool) -> None:
    """List alarms, newest first."""
    with connect(server, token_file) as api:
        answer = api.records(device_id, "alarms", limit) if device_id else api.alarms(limit)

    def show(value: Any) -> None:
        rows(value["alarms"], _COLUMNS, "There are no alarms.")
        traced = [one for one in value["alarms"] if one.get("trace")]
        if traced and not trace:
            say(f"\n{len(traced)} of them came with a trace: --trace shows it.")
        for one in traced if trace else ():
            say(f"\n{one['time']} {one['device']} {one['reason']}:")
            say(indent(one["trace"].rstrip("\n"), "  "))

    emit(answer, as_json, show)
