"""The server's application in this process, for requests by the hundred."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path

from flask import Flask

from ota_server.application import create_app
from ota_server.config import Config
from ota_server.security import tokens
from ota_server.store import Store, migrate
from ota_server.store.models import Device


@contextlib.contextmanager
def application(folder: Path, trust: Path) -> Iterator[tuple[Flask, str]]:
    """An application that has the device gate-1, and the token of its admin. It logs nothing below errors."""
    config = Config(folder / "data", trust=trust)
    config.data.mkdir()
    migrate(config.database)
    store = Store(config.database)
    with store.write() as session:
        token = tokens.new_token(session, "admin", ["admin"])
        session.add(Device(id="gate-1", board="unix", product="p", password_hash="x"))
    app = create_app(config, store)
    app.extensions["enrol_limit"].take = lambda _key: True  # all come from one address
    logging.disable(logging.WARNING)
    yield app, token
    logging.disable(logging.NOTSET)
    store.close()
