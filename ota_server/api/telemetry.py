"""Telemetry of one device: its history, a page at a time, and the newest value of each measurement."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

from flask import Blueprint, request

from ota_server.api import context, serialize
from ota_server.api.devices import get
from ota_server.errors import Problem
from ota_server.security.tokens import requires
from ota_server.store import telemetry

blueprint = Blueprint("telemetry", __name__)

_CURSOR = re.compile(r"([0-9]{1,15})-([0-9]{1,18})\Z")
_LATEST = datetime(9999, 1, 1, tzinfo=UTC).timestamp()


@blueprint.get("/devices/<device_id>/telemetry")
@requires("read")
def history(device_id: str) -> dict[str, Any]:
    """Newest first, `next` being the cursor of the page after this one; with `after`, in the order of arrival."""
    query, limit = _query(), context.limit()
    with context.store().read() as session:
        device_id = get(session, device_id).id
        if "after" in request.args:
            rows = telemetry.arrived(session, device_id, query, limit, context.number("after", 0, 2**53))
            return {"telemetry": [serialize.point(*row) for row in rows], "next": None}
        rows = telemetry.history(session, device_id, query, limit, _cursor())
    last = rows[-1][0] if len(rows) == limit else None
    return {"telemetry": [serialize.point(*row) for row in rows], "next": f"{last.at}-{last.id}" if last else None}


@blueprint.get("/devices/<device_id>/telemetry/last")
@requires("read")
def last(device_id: str) -> dict[str, Any]:
    with context.store().read() as session:
        device_id = get(session, device_id).id
        return {
            "last": [serialize.series(row) for row in telemetry.series(session, device_id, _query())],
            "streams": [serialize.stream(row) for row in telemetry.streams(session, device_id)],
        }


def _query() -> telemetry.Query:
    args = request.args
    return telemetry.Query(args.get("stream"), args.get("name"), _time("since"), _time("until"))


def _time(name: str) -> int | None:
    """A query parameter that is a time: ISO 8601 with a zone, or seconds since 1970. In ms."""
    text = request.args.get(name)
    if text is None:
        return None
    try:
        if re.fullmatch(r"[0-9]{1,12}(\.[0-9]{1,6})?", text, re.ASCII):
            seconds = float(text)
        else:
            moment = datetime.fromisoformat(text.replace(" ", "+"))  # a + that was not escaped arrives as a space
            seconds = moment.timestamp() if moment.tzinfo is not None else -1
    except (ValueError, OverflowError):
        seconds = -1
    if not 0 <= seconds <= _LATEST:
        raise Problem(
            400,
            "invalid-parameter",
            f"{name} is not a time",
            f"Write ?{name}=2026-11-21T12:00:00Z, or seconds since 1970",
        )
    return round(seconds * 1000)


def _cursor() -> tuple[int, int] | None:
    text = request.args.get("cursor")
    if text is None:
        return None
    found = _CURSOR.match(text)
    if found is None:
        raise Problem(400, "invalid-parameter", "cursor is not one of ours", "Send the `next` of the page before")
    return int(found[1]), int(found[2])
