"""The session cookie: who asks, what they may do, and whether a form is from our own page."""

from __future__ import annotations

import functools
import hmac
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from flask import Response, abort, g, redirect, request, url_for

from ota_server.api import context
from ota_server.errors import Forbidden
from ota_server.security import sessions

ANY = ""  # in place of a scope: whatever somebody may do
_FORM = 4096  # bytes of a form


def cookie_name() -> str:
    """Over TLS with the prefix that ties a cookie to this host, to TLS and to the path /."""
    return "__Host-tidegate" if request.is_secure else "tidegate-session"


def give(answer: Response, cookie: str) -> None:
    lasts = sessions.LASTS_S
    answer.set_cookie(cookie_name(), cookie, lasts, secure=request.is_secure, httponly=True, samesite="Lax", path="/")


def take_away(answer: Response) -> None:
    answer.delete_cookie(cookie_name(), secure=request.is_secure, httponly=True, samesite="Lax", path="/")


def person() -> sessions.Person | None:
    """Who is signed in, if anybody is."""
    if "person" not in g:
        with context.store().read() as session:
            g.person = sessions.find(session, request.cookies.get(cookie_name(), ""))
        if g.person is not None:
            g.actor = g.person.who
    found: sessions.Person | None = g.person
    return found


def who() -> str:
    """As in the audit log; in a view for people who are signed in."""
    found = person()
    assert found is not None, "the decorator lets nobody else in"
    return found.who


def signed_in(scope: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorator of a view: for people who may do `scope`; others are shown the door. It checks forms, too."""

    def decorate(view: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(view)
        def checked(*args: Any, **kwargs: Any) -> Any:
            found = person()
            if found is None:
                if request.method != "GET" or is_stream():
                    return Response("Sign in at /sign-in\n", 401, mimetype="text/plain")
                here = request.full_path.rstrip("?")
                return redirect(url_for("web.sign_in", next=None if here == "/" else here), 303)
            if request.method == "POST":
                from_here()
                if not hmac.compare_digest(request.form.get("csrf", "").encode(), found.csrf.encode()):
                    raise Forbidden("form", "the form is not from a page of this session", "Go back and load it again")
            if scope != ANY and not found.may(scope):
                raise Forbidden(
                    "forbidden",
                    f"{found.who} may not do this: it needs {scope!r}",
                    "Sign in with a token that may: tidegate token new --scope " + scope,
                )
            return view(*args, **kwargs)

        return checked

    return decorate


def from_here() -> None:
    """Refuse a form that another site sent: browsers say where a form is from."""
    if request.content_length is not None and request.content_length > _FORM:
        abort(413)
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        is_ours = site in ("same-origin", "none")
    else:
        origin = request.headers.get("Origin")
        try:
            is_ours = origin is None or urlsplit(origin).netloc == request.host
        except ValueError:  # half an address
            is_ours = False
    if not is_ours:
        raise Forbidden("form", "the form is from another site", "Open the page itself, and send it from there")


def is_stream() -> bool:
    """Whether a page that is open asks what is new on it."""
    return request.accept_mimetypes.best == "text/event-stream"
