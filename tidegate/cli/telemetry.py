"""`tidegate device telemetry`: a device's measurements."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from tidegate.cli._common import connect, emit, in_json, json_option, rows, say, server_options, text
from tidegate.cli._device_names import device_argument
from tidegate.client.server import Server

_COLUMNS = {"at": "TIME", "stream": "STREAM", "name": "NAME", "value": "VALUE", "unit": "UNIT"}
_STREAMS = {
    "stream": "STREAM",
    "last": "LAST HEARD",
    "packs": "PACKS",
    "repeated": "SENT AGAIN",
    "dropped": "PACKS LOST",
    "missing": "NEVER CAME",
}
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_POLL_S = 1.0
_PAGE = 500


class Moment(click.ParamType):
    """A time: 90s, 30m, 12h, 7d ago, or ISO 8601. Converts to ISO 8601 in UTC."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        ago = re.fullmatch(r"([0-9]{1,9})([smhd])", value)
        try:
            if ago:
                moment = datetime.fromtimestamp(time.time() - int(ago[1]) * _UNITS[ago[2]], UTC)
            else:
                moment = datetime.fromisoformat(value).astimezone(UTC)
        except (ValueError, OverflowError, OSError):
            self.fail(f"{value!r} is not a time; write 30m, 12h, 7d, or 2026-11-21T12:00:00", param, ctx)
        return moment.isoformat().replace("+00:00", "Z")


@click.command(
    epilog="""\b
Examples:
  tidegate device telemetry gate-7
  tidegate device telemetry gate-7 --stream env --name temperature --since 12h --json
  tidegate device telemetry gate-7 --last
  tidegate device telemetry gate-7 --follow"""
)
@device_argument
@click.option("--stream", metavar="S", help="Only this stream.")
@click.option("--name", metavar="N", help="Only this measurement.")
@click.option("--since", type=Moment(), help="Not before this: 90s, 30m, 12h, 7d ago, or an ISO 8601 time.")
@click.option("--until", type=Moment(), help="Before this.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=20, show_default=True, help="At most so many values.")
@click.option("--last", is_flag=True, help="The newest value of each measurement, and what the streams lost.")
@click.option(
    "--follow", is_flag=True, help="Print values as they arrive, until Ctrl-C; with --json one object a line."
)
@server_options
@json_option
def telemetry(
    device_id: str,
    stream: str | None,
    name: str | None,
    since: str | None,
    until: str | None,
    limit: int,
    last: bool,
    follow: bool,
    server: str,
    token_file: Path | None,
    as_json: bool,
) -> None:
    """Show the measurements of device ID, newest first."""
    if follow and (last or until):
        raise click.UsageError("--follow never ends: use it without --last and --until")
    filters = {"stream": stream, "name": name, "since": since, "until": until}
    query = {key: value for key, value in filters.items() if value is not None}
    with connect(server, token_file) as api:
        if last:
            emit(api.telemetry_last(device_id, query), as_json, _show_last)
        elif follow:
            _follow(api, device_id, query, limit, as_json)
        else:
            found = list(api.telemetry(device_id, query, limit))
            emit(
                {"telemetry": found},
                as_json,
                lambda _: rows(found, _COLUMNS, "There are no measurements then."),
            )


def _show_last(value: dict[str, Any]) -> None:
    rows(value["last"], _COLUMNS, "There are no measurements yet.")
    if value["streams"]:
        say("")
        rows(value["streams"], _STREAMS, "")


def _follow(api: Server, device_id: str, query: dict[str, str], limit: int, as_json: bool) -> None:
    """The last values, oldest first, then each as the server files it."""
    found = list(api.telemetry(device_id, query, limit))[::-1]
    after = max((row["id"] for row in found), default=0)
    try:
        while True:
            for row in found:
                say(in_json(row) if as_json else "  ".join(text(row[key]) for key in _COLUMNS))
            if len(found) < _PAGE:
                time.sleep(_POLL_S)
            found = api.telemetry_after(device_id, query, after)
            after = max((row["id"] for row in found), default=after)
    except KeyboardInterrupt:
        return
