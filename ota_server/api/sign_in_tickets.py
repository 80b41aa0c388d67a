"""Tickets by which the holder of a token signs in at the page without showing the browser that token."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, g, request

from ota_server.api import context
from ota_server.api.auth import requires
from ota_server.security import sessions

blueprint = Blueprint("sign_in_tickets", __name__)


@blueprint.post("/sign-in-tickets")
@requires("read")
def make() -> dict[str, Any]:
    """A ticket that signs in at /sign-in in place of the token, once, within a minute. It needs no body."""
    with context.store().write() as session:
        ticket = sessions.ticket_of(session, g.token, request.remote_addr or "?")
    return {"ticket": ticket, "seconds": sessions.TICKET_LASTS_S}
