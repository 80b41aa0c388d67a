"""Signing in with a token, and out. Who guesses is slowed down by address, and every wrong try is logged."""

from __future__ import annotations

import logging
import math

from flask import Response, current_app, make_response, redirect, render_template, request, url_for

from ota_server.api import context
from ota_server.peer_key import peer_key
from ota_server.security import sessions
from ota_server.security.tokens import find_token
from ota_server.token_bucket import TokenBuckets
from ota_server.web import session as web_session

log = logging.getLogger("tidegate.access")

_TRIES, _TRIES_AT_ONCE = 0.1, 10  # wrong ones of an address: a second, and at first


def make_limit() -> TokenBuckets:
    return TokenBuckets(_TRIES, _TRIES_AT_ONCE)


def show() -> str | Response:
    if web_session.person() is not None:
        return to_next(request.args.get("next"))
    return door(request.args.get("next"))


def with_token() -> Response:
    """POST: token, or a ticket of one; next."""
    web_session.from_here()
    limit: TokenBuckets = current_app.extensions["sign_in_limit"]
    peer = request.remote_addr or "?"
    if not limit.has(peer_key(peer)):
        log.warning("%s: refused to sign in: too many wrong tokens", peer)
        why = f"Too many wrong tokens came from {peer}. Wait {math.ceil(1 / _TRIES)} seconds, then try again."
        return make_response(door(request.form.get("next"), why), 429, {"Retry-After": str(math.ceil(1 / _TRIES))})
    with context.store().write() as session:
        shown = request.form.get("token", "").strip()
        token = find_token(session, shown) or sessions.redeem(session, shown)
        cookie = None if token is None or not token.scopes else sessions.of_token(session, token, peer)
    if cookie is None:
        limit.take(peer_key(peer))
        why = "The token is not valid: it was mistyped or revoked, or belongs to another server."
        if shown.startswith(sessions.TICKET):
            why = "This address signs in once, within a minute of `tidegate open`. Make another one."
        return make_response(door(request.form.get("next"), why), 401)
    answer = to_next(request.form.get("next"))
    web_session.give(answer, cookie)
    return answer


@web_session.signed_in(web_session.ANY)
def sign_out() -> Response:
    with context.store().write() as session:
        sessions.end(session, request.cookies[web_session.cookie_name()])
    answer = make_response(redirect(url_for("web.sign_in"), 303))
    web_session.take_away(answer)
    return answer


def to_next(place: str | None) -> Response:
    """To the page that somebody wanted to see: one of ours, whatever the address says."""
    place = place or ""
    is_ours = place.startswith("/") and not place.startswith(("//", "/\\")) and place.isprintable()
    return make_response(redirect(place if is_ours else url_for("web.overview"), 303))


def door(place: str | None, why: str = "") -> str:
    """The page for signing in; why: what went wrong before."""
    provider = current_app.extensions["oidc"]
    return render_template("sign_in.html", next=place or "", why=why, provider=provider and provider.name)
