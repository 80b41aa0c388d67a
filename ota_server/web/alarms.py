"""Alarms: which call, who has seen them, and which kinds call nobody until when."""

from __future__ import annotations

from contextlib import suppress

from flask import Response, redirect, request, url_for
from sqlalchemy import select
from werkzeug.wrappers import Response as Redirect

from ota_server.api import context
from ota_server.errors import Invalid, NotFound
from ota_server.fleet import alarm_acts
from ota_server.store import alarm_handling, alarms, devices
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
    only = alarms.Only(kind or None, "open" if only_open else None)
    statement = page.newest(only.of(select(Alarm)), Alarm.id, _ROWS)
    with context.store().read() as session:
        if device:
            row = devices.find(session, device)
            statement = statement.where(Alarm.device_id == (row.id if row else device))
        found = list(session.scalars(statement))
        return page.show(
            "alarms.html",
            alarms=found[:_ROWS],
            names=devices.names(session, {one.device_id for one in found}),
            muted=alarm_handling.muted_until(session, found),
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
    """POST: id, as many as one likes; note."""
    numbers = [int(text) for text in request.form.getlist("id")[:_ROWS] if text.isascii() and text.isdigit()]
    numbers = [number for number in numbers if number < MOST_ID]
    with context.store().write() as session:
        alarm_acts.acknowledge(session, who(), numbers, _text("note"))
    return _back()


@signed_in("devices")
def mute() -> Redirect:
    """POST: kind, device (all without one), hours, why."""
    kind, hours = (_text("kind") or "")[: alarm_acts.MAX_KIND], request.form.get("hours", "")
    name = (_text("device") or "")[:_WORD] or None
    if not kind or hours not in _HOURS:
        raise Invalid("invalid-parameter", "kind or hours is missing", f"Hours are {', '.join(_HOURS)}")
    with context.store().write() as session:
        alarm_acts.mute(session, who(), kind, name, int(hours) * 3600, _text("why"))
    return _back()


@signed_in("devices")
def unmute() -> Redirect:
    """POST: id of the mute."""
    text = request.form.get("id", "")
    if text.isascii() and text.isdigit() and len(text) < 17:
        with context.store().write() as session, suppress(NotFound):  # it has ended meanwhile: so be it
            alarm_acts.unmute(session, who(), int(text))
    return _back()


def _text(name: str) -> str | None:
    """What was typed, without what cannot be shown, or None."""
    typed = request.form.get(name, "").strip()[: alarm_acts.MAX_TEXT]
    return "".join(letter for letter in typed if letter.isprintable()) or None


def _back() -> Redirect:
    return redirect(url_for("web.alarms"), 303)
