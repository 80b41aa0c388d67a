"""What the log says of requests: each has an id, which its lines and its answer carry; failed logins are told."""

from __future__ import annotations

import logging
import secrets
import time

from flask import Flask, Response, g, request

from ota_server import log_lines
from ota_server.peer_key import peer_key
from ota_server.token_bucket import TokenBuckets
from tidegate.names import DEVICE

log = logging.getLogger("tidegate.access")

_FAILED, _FAILED_AT_ONCE = 0.1, 5  # lines a second about failed logins of one address


def init_app(app: Flask) -> None:
    lines = TokenBuckets(_FAILED, _FAILED_AT_ONCE)

    @app.before_request
    def begin() -> None:
        g.began = time.monotonic()
        g.request_id = secrets.token_hex(8)  # ours: one that a caller chose could be somebody else's
        log_lines.REQUEST.set(g.request_id)
        device = str((request.view_args or {}).get("device_id", ""))
        log_lines.DEVICE.set(device if DEVICE.fits(device) else "")

    @app.after_request
    def end(response: Response) -> Response:
        if not request.path.startswith("/p/"):  # a device reads these, with a small buffer
            response.headers["Tidegate-Request"] = g.get("request_id", "")
        peer = request.remote_addr or "?"
        if response.status_code in (401, 403) and lines.take(peer_key(peer)):
            why = "no valid token" if response.status_code == 401 else "its token may not"
            _line(logging.WARNING, response, f"{peer}: refused: {why}", peer)
        elif log.isEnabledFor(logging.INFO):
            _line(logging.INFO, response, peer, peer)
        return response


def _line(level: int, response: Response, words: str, peer: str) -> None:
    facts = {
        "peer": peer,
        "actor": g.get("actor", ""),
        "method": request.method,
        "path": request.path,
        "status": response.status_code,
        "ms": round((time.monotonic() - g.began) * 1000, 1),
    }
    log.log(level, "%s: %s %s: %d", words, request.method, request.path, response.status_code, extra={"facts": facts})
