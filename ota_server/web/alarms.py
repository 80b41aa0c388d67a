"""Alarms: which call, who has seen them, and which kinds call nobody until when."""

from __future__ import annotations

from flask import Response, redirect, request, url_for
from sqlalchemy import select
from werkzeug.wrappers import Response as Redirect

from ota_server.api import context
from ota_server.errors import Invalid
from ota_server.security import audit
from ota_server.store import alarm_handling, alarms, devices, now_ms
from ota_server.store.models import Alarm
from ota_server.store.pages import MOST_ID
from ota_server.web import page
from ota_server.web.session import signed_in, who

_ROWS = 50
_HOURS = {"1": "1 hour", "8": "8 hours", "24": "1 day", "168": "1 week", "720": "30 days"}
_WORD = 64


@signed_in("read")
def show() -> Response:
    kind, device = page.word("kind", _WORD), page.word("device", _WORD)
    only_open = request.args.get("all") != "1"
    statement = page.newest(select(Alarm), Alarm.id, _ROWS)
    if kind:
        statement = statement.where(Alarm.kind == kind)
    if only_open:
        statement = statement.where(Alarm.acknowledged_at.is_(None))
    with context.store().read() as session:
        if device:
            row = devices.find(session, device)
            statement = statement.where(Alarm.device_id == (row.id if row else device))
        found = list(session.scalars(statement))
        return page.show(
            "alarms.html",
            alarms=found[:_ROWS],
            older=found[_ROWS - 1].id if len(found) > _ROWS else None,
            mutes=alarm_handling.mutes(session),
            kind=kind,
            device=device,
            only_open=only_open,
            hours=_HOURS,
            counters=alarms.counters(session),
        )


@signed_in("devices")
def acknowledge() -> Redirect:
    """POST: id, as many as one likes."""
    numbers = [int(text) for text in request.form.getlist("id")[:_ROWS] if text.isascii() and text.isdigit()]
    numbers = [number for number in numbers if number < MOST_ID]
    with context.store().write() as session:
        found = alarm_handling.acknowledge(session, numbers, who())
        if found:
            audit.record(session, who(), "alarm.acknowledge", str(found[0]), alarms=found)
    return _back()


@signed_in("devices")
def mute() -> Redirect:
    """POST: kind, device (all without one), hours, why."""
    kind, hours = request.form.get("kind", "").strip()[:32], request.form.get("hours", "")
    name, why = request.form.get("device", "").strip()[:_WORD], request.form.get("why", "").strip()[:200] or None
    if not kind or hours not in _HOURS:
        raise Invalid("invalid-parameter", "kind or hours is missing", f"Hours are {', '.join(_HOURS)}")
    with context.store().write() as session:
        row = devices.find(session, name) if name else None
        if name and row is None:
            raise page.missing(f"there is no device {name}", "tidegate device list shows the devices")
        until = now_ms() + int(hours) * 3_600_000
        alarm_handling.mute(session, row.id if row else None, kind, until, who(), why)
        audit.record(session, who(), "alarm.mute", row.id if row else "all", kind=kind, until=until, why=why)
    return _back()


@signed_in("devices")
def unmute() -> Redirect:
    """POST: id of the mute."""
    text = request.form.get("id", "")
    with context.store().write() as session:
        is_number = text.isascii() and text.isdigit() and int(text) < MOST_ID
        row = alarm_handling.unmute(session, int(text)) if is_number else None
        if row is not None:
            audit.record(session, who(), "alarm.unmute", row.device_id or "all", kind=row.kind)
    return _back()


def _back() -> Redirect:
    return redirect(url_for("web.alarms"), 303)
