"""How much one address may ask of the API: above it 429 with Retry-After, before the database is asked anything."""

from __future__ import annotations

from flask import Flask, Response, request

from ota_server.errors import TooManyRequests
from ota_server.peer_key import peer_key
from ota_server.token_bucket import TokenBuckets

RATE, BURST = 300.0, 3000  # requests a second of one address, and at once: a site's boards and its people
FAILED, FAILED_BURST = 5.0, 300  # of them with a token that is not valid, or none where one is needed


def init_app(app: Flask) -> None:
    """Payloads and health are not counted: boards fetch the first in a flock, and the second says how we are."""
    asked = TokenBuckets(RATE, BURST, most=10_000)
    failed = TokenBuckets(FAILED, FAILED_BURST, most=10_000)

    @app.before_request
    def begin() -> None:
        if not request.path.startswith("/api/"):
            return
        key = peer_key(request.remote_addr or "")
        if not asked.take(key) or not failed.has(key):
            raise TooManyRequests(
                "too-many-requests", "this address asks too much, or with wrong tokens", "Wait, then ask less often"
            )

    @app.after_request
    def end(response: Response) -> Response:
        if response.status_code == 401:
            failed.take(peer_key(request.remote_addr or ""))
        return response
