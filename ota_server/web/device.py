"""The page of one device: state, timeline, telemetry, alarms, crashes, commands."""

from __future__ import annotations

from typing import Any

from flask import Response, request
from sqlalchemy import select
from sqlalchemy.orm import Session

from ota_server.api import context, serialize
from ota_server.api.timeline_text import sentence
from ota_server.errors import Invalid
from ota_server.fleet import offer_state
from ota_server.fleet.offer_state import joined
from ota_server.fleet.standing import standing
from ota_server.store import alarms, commands, data, devices, labels, now_ms, telemetry, timeline, trust_updates
from ota_server.store.models import Alarm, Device
from ota_server.store.pages import MOST_ID
from ota_server.web import charts, page
from ota_server.web.session import signed_in

_ENTRIES = 40
_CHARTS = 12
_ROWS = 15


@signed_in("read")
def show(name: str) -> Response:
    """By its id or name."""
    now = now_ms()
    span, kinds = request.args.get("span", "24h"), [kind for kind in request.args.getlist("kind") if kind]
    if span not in charts.SPANS or any(kind not in timeline.KINDS for kind in kinds):
        raise Invalid("invalid-parameter", "span or kind is none of these", f"Spans are {', '.join(charts.SPANS)}")
    with context.store().read() as session:
        row = devices.find(session, name)
        if row is None:
            raise page.missing(f"there is no device {name[:64]}", "tidegate device list shows the devices")
        word = session.scalar(joined(select(standing(now)).select_from(Device)).where(Device.id == row.id))
        feed = timeline.newest(session, row.id, kinds or timeline.KINDS, _ENTRIES, _place(request.args.get("before")))
        until = now - now % 60_000 + 60_000  # the picture of a device that says nothing changes once a minute
        state = offer_state.of_image(row)
        return page.show(
            "device.html",
            device=row,
            word=word,
            offer=serialize.offer(row),
            offer_why=offer_state.why(row, state),
            trust=serialize.trust(row, trust_updates.newest_version(session)),
            labels=labels.of(session, row.id),
            components=serialize.data_rows(data.of_device(session, row.id)),
            streams=telemetry.streams(session, row.id),
            entries=[_entry(entry) for entry in feed.entries],
            older=None if feed.before is None else ".".join(f"{k}{n}" for k, n in sorted(feed.before.items())),
            kinds=timeline.KINDS,
            chosen=kinds,
            span=span,
            spans=charts.SPANS,
            **_telemetry(session, row.id, until - 1000 * charts.SPANS[span], until),
            alarms=alarms.listed(session, _ROWS, row.id),
            commands=serialize.command_list(session, commands.listed(session, _ROWS, row.id)),
            opcodes=_opcodes(session, row.id),
        )


def _telemetry(session: Session, device_id: str, since: int, until: int) -> dict[str, Any]:
    series = telemetry.series(session, device_id)
    numbers = [one for one in series if one.number is not None]
    drawn = [charts.of_series(session, one, since, until) for one in numbers[:_CHARTS]]
    return {"series": series, "charts": drawn, "undrawn": len(numbers) - len(drawn)}


def _entry(entry: timeline.Entry) -> dict[str, Any]:
    trace = entry.row.trace if isinstance(entry.row, Alarm) else None
    key = f"{entry.source}{entry.row.id}"
    return {"id": key, "kind": entry.kind, "at": entry.at, "text": sentence(entry), "trace": trace}


def _opcodes(session: Session, device_id: str) -> list[str]:
    """What the device said that it offers, when somebody asked it; else what every device has."""
    row = commands.last_done(session, device_id, "ops")
    said = [] if row is None else serialize.command(session, row, whole=True)["output"]
    found = [one["name"] for one in said if isinstance(one, dict) and "name" in one] if isinstance(said, list) else []
    return found or ["info", "ping", "mem", "log.tail", "config.get", "reboot"]


def _place(text: str | None) -> dict[str, int] | None:
    """A place in the timeline, as its links have it."""
    if not text:
        return None
    parts = text[:200].split(".")
    if not all(part[:1] in timeline.SOURCES and part[1:].isdigit() and part.isascii() for part in parts):
        raise Invalid("invalid-parameter", "before is not a place in the timeline", "Leave it out")
    return {part[0]: min(int(part[1:]), MOST_ID) for part in parts}
