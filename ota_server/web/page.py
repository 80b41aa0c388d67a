"""How a view becomes a page, and what is new on one that is open: the same rendering, sent as a server-sent event.

Such a stream ends at once; the browser asks again a few seconds later and says which state it has. So nobody who looks
on holds a thread of the server, and a proxy between has nothing to keep open.
"""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from flask import Flask, Response, render_template, request
from sqlalchemy import Select
from werkzeug.http import HTTP_STATUS_CODES

from ota_server.api.problems import STATUS, document
from ota_server.api.serialize import iso
from ota_server.errors import Invalid, NotFound, Problem
from ota_server.store import now_ms
from ota_server.store.clock import to_the_minute
from ota_server.store.pages import MOST_ID, Place
from ota_server.store.pages import page as rows_of
from ota_server.web import session as web_session

AGAIN_MS = 2000
_UNITS = {"Cel": "°C", "%RH": "% RH", "count": "", "/": ""}  # SenML's names that people write otherwise

NAVIGATION = (
    ("overview", "Overview", "read"), ("devices", "Devices", "read"), ("rollouts", "Rollouts", "read"),
    ("releases", "Releases", "read"), ("alarms", "Alarms", "read"), ("audit", "Audit", "admin"),
)  # fmt: skip


def show(template: str, **facts: Any) -> Response:
    """The page, or as an event what is new on it. Whoever asks is signed in."""
    person = web_session.person()
    html = render_template(template, person=person, navigation=NAVIGATION, **facts)
    state = hashlib.sha256(html.encode()).hexdigest()[:16]
    if not web_session.is_stream():
        return Response(html.replace('data-state=""', f'data-state="{state}"', 1), mimetype="text/html")
    lines = [f"retry: {AGAIN_MS}", f"id: {state}"]
    if state == request.headers.get("Last-Event-ID", request.args.get("state")):
        lines += ["event: same", "data:"]
    else:
        lines += ["event: page", *(f"data: {line}" for line in html.splitlines())]
    return Response("\n".join(lines) + "\n\n", mimetype="text/event-stream")


def number(name: str, default: int, most: int) -> int:
    """A whole number in the address, from 1 on. Raises Invalid."""
    text = request.args.get(name, "")
    if not text:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 17 and 1 <= int(text) <= most):
        raise Invalid("invalid-parameter", f"{name} must be a number from 1 to {most}", f"Correct ?{name}=")
    return int(text)


def word(name: str, most: int) -> str:
    """A word in the address, cut to `most` characters; a database takes no NUL."""
    return request.args.get(name, "").strip()[:most].replace("\0", "")


def newest(statement: Select[Any], row_id: Any, limit: int) -> Select[Any]:
    """The statement for the rows before ?before=, newest first, and one more, which says that there are older ones."""
    return rows_of(statement, row_id, limit + 1, Place(before=number("before", MOST_ID, MOST_ID)))


def failed(problem: Problem) -> Response | tuple[str, int]:
    """What people see where programs get a problem document."""
    status = STATUS[type(problem)]
    person = web_session.person()
    if person is None or web_session.is_stream():
        return document(status, problem.kind, problem.detail, problem.remedy)
    title = HTTP_STATUS_CODES.get(status, "Error")
    return render_template("error.html", person=person, navigation=NAVIGATION, title=title, problem=problem), status


def missing(what: str, remedy: str) -> NotFound:
    return NotFound("not-found", what, remedy)


def init_app(app: Flask) -> None:
    app.jinja_env.filters.update(
        {
            "time": _time,
            "bytes": _bytes,
            "number": _number,
            "unit": lambda unit: _UNITS.get(unit, unit or ""),
            "iso": lambda at: iso(at) if isinstance(at, int) else at,
        }
    )
    app.jinja_env.globals.update(here=_here, now=lambda: iso(now_ms()))
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True


def _here(**changes: Any) -> str:
    """This address with some parameters changed; those that are empty are left out, and so is the page's number."""
    words = {**{key: value for key, value in request.args.items() if key not in ("page", "state")}, **changes}
    query = urlencode({key: value for key, value in words.items() if value not in ("", None)})
    return f"{request.path}?{query}" if query else request.path


def _time(at: int | str | None) -> str:
    """ms since 1970, or ISO, as text; scripts turn it into an age."""
    if at is None:
        return "never"
    return to_the_minute(at if isinstance(at, int) else int(1000 * datetime.fromisoformat(at).timestamp()))


def _bytes(count: int) -> str:
    if count < 1024:
        return f"{count} B"
    return f"{count / 1024:.1f} KiB" if count < 1 << 20 else f"{count / (1 << 20):.1f} MiB"


def _number(value: Any) -> str:
    """Up to four significant digits, never exponents: 23.46, 1234.6, 0.0012."""
    if value is None:
        return "–"
    if not isinstance(value, int | float) or isinstance(value, bool):
        return str(value)
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}" if abs(value) >= 10000 else str(int(value))
    digits = 1 if abs(value) >= 1000 else 2 if abs(value) >= 1 else 4
    return f"{value:.{digits}f}".rstrip("0").rstrip(".")
