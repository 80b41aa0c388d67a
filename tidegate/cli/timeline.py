"""`tidegate device timeline`: all that happened to a device."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from tidegate.cli._common import complain, connect, emit, in_json, json_option, rows, say, server_options
from tidegate.cli._device_names import device_argument
from tidegate.client.server import MAX_PAGE, Server

_COLUMNS = {"at": "TIME", "kind": "KIND", "text": "WHAT HAPPENED"}
_POLL_S = 1.0


@click.command(
    epilog="""\b
Examples:
  tidegate device timeline gate-7
  tidegate device timeline gate-7 --kind trial --kind crash --limit 5
  tidegate device timeline gate-7 -f"""
)
@device_argument
@click.option(
    "--kind",
    "kinds",
    metavar="KIND",
    multiple=True,
    help="Only this: birth, offer, silence, gap, report, trial, command, settings, alarm, crash, enrolment, group, "
    "name, label. Repeat it for more.",
)
@click.option("--limit", type=click.IntRange(1, 10_000), default=30, show_default=True, help="At most so many.")
@click.option(
    "-f", "--follow", is_flag=True, help="Print what happens as it does, until Ctrl-C; with --json one object a line."
)
@server_options
@json_option
def timeline(
    device_id: str,
    kinds: tuple[str, ...],
    limit: int,
    follow: bool,
    server: str,
    token_file: Path | None,
    as_json: bool,
) -> None:
    """Show all that happened to device ID, newest first: starts, offers, trials, commands, alarms, crashes, changes."""
    with connect(server, token_file) as api:
        page = api.timeline(device_id, kinds, min(limit, MAX_PAGE))
        found, before = page["timeline"], page["before"]
        while before is not None and len(found) < limit:
            older = api.timeline(device_id, kinds, min(limit - len(found), MAX_PAGE), before)
            found, before = found + older["timeline"], older["before"]
            if not older["timeline"]:
                break
        if follow:
            _follow(api, device_id, kinds, found, page["since"], as_json)
            return
        emit({"timeline": found, "silent_since": page.get("silent_since")}, as_json, _show)


def _show(value: dict[str, Any]) -> None:
    if value["silent_since"]:
        say(f"Nothing was heard of it since {value['silent_since']}.")
    rows(value["timeline"], _COLUMNS, "Nothing has happened yet.")
    if any(one["kind"] == "crash" for one in value["timeline"]):
        complain("Traces of crashes: tidegate alarms list --trace")


def _follow(
    api: Server, device_id: str, kinds: tuple[str, ...], found: list[dict[str, Any]], since: str | None, as_json: bool
) -> None:
    """What happened, oldest first, then each thing as the server files it."""
    found, place = found[::-1], since or "0"
    try:
        while True:
            for entry in found:
                say(in_json(entry) if as_json else f"{entry['at']}  {entry['kind']:<9}  {entry['text']}")
            if len(found) < MAX_PAGE:
                time.sleep(_POLL_S)
            page = api.timeline_after(device_id, kinds, place)
            found, place = page["timeline"], page["since"]
    except KeyboardInterrupt:
        return
