"""`tidegate alarms`: alarms of devices."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path
from textwrap import indent
from typing import Any

import click

from tidegate.cli._common import FILE, connect, emit, json_option, rows, say, server_options
from tidegate.errors import TidegateError
from tidegate.files import read_limited, write_atomic
from tidegate.visible import visible

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


@alarms.command(
    "forward",
    epilog="""\b
Examples:
  tidegate alarms forward --seen alarms.seen --run "mail -s Tidegate ops@example.org"
  tidegate alarms forward --seen alarms.seen --run /etc/tidegate/alert""",
)
@click.option("--seen", type=FILE, required=True, help="Holds the number of the last alarm that was handed on.")
@click.option("--run", "program", metavar="PROGRAM", required=True, help="Gets the new alarms as text on its input.")
@server_options
@json_option
def forward(seen: Path, program: str, server: str, token_file: Path | None, as_json: bool) -> None:
    """Hand the alarms that are new since the last time to PROGRAM, which mails them or the like; for a timer.

    Nothing new: it is not run. When it fails, the same alarms are handed on at the next time. The first time all of the
    server's alarms are new.
    """
    words = shlex.split(program)
    if not words:
        raise TidegateError("--run names no program", "Name one, with its arguments")
    last = _last(seen)
    with connect(server, token_file) as api:
        found = api.alarms_since(last)
    if found:
        _hand_on(words, [" ".join(str(one.get(name) or "-") for name in _COLUMNS) for one in found])
        write_atomic(seen, f"{max(one['id'] for one in found)}\n".encode())
    emit({"new": len(found)}, as_json, lambda value: say(f"{value['new']} new alarms"))


def _last(seen: Path) -> int:
    if not seen.exists():
        return 0
    text = read_limited(seen, 32, "number of the last alarm").decode("ascii", "replace").strip()
    if not text.isdigit():
        raise TidegateError(f"{seen} holds no number", "Remove it; all alarms are new then")
    return int(text)


def _hand_on(words: list[str], lines: Sequence[str]) -> None:
    text = "".join(visible(line) + "\n" for line in lines)
    try:
        done = subprocess.run(words, input=text, text=True)
    except OSError as error:
        raise TidegateError(f"{words[0]} cannot be run: {error.strerror}", "Name a program by its path") from error
    if done.returncode:
        raise TidegateError(f"{words[0]} ended with exit code {done.returncode}", "Its words are above")
