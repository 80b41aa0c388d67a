"""The decorator of views that need a token."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from flask import current_app, g, request

from ota_server.errors import Forbidden, Unauthorised
from ota_server.security.tokens import allowed, channels, find_token
from ota_server.store import Store


def requires(scope: str, *, in_channel: bool = False) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorator of a view: the caller must show a token with `scope`, or admin.

    With `in_channel`, a token that may publish into some channels is enough. Sets `g.actor` for the audit log,
    `g.token`, and `g.channels`: those channels, or None for all.
    """

    def decorate(view: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(view)
        def checked(*args: Any, **kwargs: Any) -> Any:
            kind, _, value = request.headers.get("Authorization", "").partition(" ")
            store: Store = current_app.extensions["store"]
            with store.read() as session:
                token = find_token(session, value.strip()) if kind.lower() == "bearer" else None
            if token is None:
                raise Unauthorised(
                    "unauthorised",
                    "no valid API token was sent" if not value else "the API token is not valid",
                    "Send the header Authorization: Bearer TOKEN; make one with: tidegate token new",
                )
            g.channels = None if allowed(token, scope) else channels(token)
            if not (g.channels is None or (in_channel and g.channels)):
                raise Forbidden(
                    "forbidden",
                    f"the token {token.name!r} has the scopes {token.scopes!r}, and this needs {scope!r}",
                    f"Make one with: tidegate token new --scope {scope}",
                )
            g.token = token
            g.actor = f"token:{token.id}:{token.name}"
            return view(*args, **kwargs)

        checked.scope = scope  # type: ignore[attr-defined]  # for openapi.json
        return checked

    return decorate
