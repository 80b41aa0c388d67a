"""The WSGI application: the API and the page over one store."""

from __future__ import annotations

import threading
from collections.abc import Callable

from flask import Flask, Response, request

from ota_server import web
from ota_server.api import enrol, routes
from ota_server.config import MAX_JSON_BODY, Config
from ota_server.releases.payload_stores import open_store
from ota_server.releases.payloads import Payloads
from ota_server.security.device_credentials import Keys
from ota_server.store import Store, migrate


def create_app(
    config: Config,
    store: Store | None = None,
    wake: threading.Event | None = None,
    dismiss: Callable[[str], None] | None = None,
    reload_users: Callable[[], None] | None = None,
    payloads: Payloads | None = None,
) -> Flask:
    """The WSGI application. Makes the data folder and the database tables if they are not there.

    `wake` is set whenever the API leaves work for the MQTT worker; a worker in another process finds it by itself, a
    little later. `dismiss(device id)` closes the device's connection to the embedded broker, if there is one.
    `reload_users()` has an external one read its files again.
    """
    config.data.mkdir(parents=True, exist_ok=True)
    if store is None:
        migrate(config.database)
        store = Store(config.database)
    app = Flask(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = MAX_JSON_BODY
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.extensions["config"] = config
    app.extensions["store"] = store
    app.extensions["payloads"] = payloads or open_store(config)
    app.extensions["coap_keys"] = Keys(config.coap_secret)
    app.extensions["dismiss"] = dismiss
    app.extensions["reload_users"] = reload_users
    app.extensions["enrol_limit"] = enrol.make_limit()
    app.extensions["wake"] = wake or threading.Event()
    routes.init_app(app)
    web.init_app(app)
    app.after_request(_harden)
    return app


def _harden(response: Response) -> Response:
    """Headers that every answer carries. No script or style but our own files, no framing, no sniffing."""
    headers = response.headers
    headers.setdefault("X-Content-Type-Options", "nosniff")
    if request.path.startswith("/p/"):
        return response  # a device reads these, with a small buffer
    headers.setdefault(
        "Content-Security-Policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    )
    headers.setdefault("Referrer-Policy", "same-origin")
    headers.setdefault("Cross-Origin-Opener-Policy", "same-origin")
    headers.setdefault("Cache-Control", "no-store")
    return response
