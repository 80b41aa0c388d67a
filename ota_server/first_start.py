"""What the first start makes: folder, tables, admin token, broker password, and the trust store to begin with."""

from __future__ import annotations

import secrets
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from ota_server import data_folder
from ota_server.config import Config
from ota_server.errors import of_storage
from ota_server.releases import trust as releases_trust
from ota_server.security import audit, tokens
from ota_server.store import Store, migrate, take_turns
from ota_server.store.models import Token
from tidegate.errors import TidegateError
from tidegate.files import read_limited, write_atomic
from tidegate.trust import store as trust_store


def prepare(config: Config) -> Store:
    """Make what the first start needs: folder, tables, admin token, broker password. Safe at every start."""
    data_folder.check_usable(config)
    try:
        config.data.mkdir(parents=True, exist_ok=True, mode=0o700)
        migrate(config.database)
        store = Store(config.database)
        with store.write() as session:
            take_turns(session)
            if session.scalar(select(Token.id).limit(1)) is None:
                token = tokens.new_token(session, "admin", ["admin"])
                write_atomic(config.admin_token, token.encode() + b"\n", mode=0o600)
                audit.record(session, "serve", "token.new", "admin", scopes=["admin"])
        if not config.broker_password.exists():
            write_atomic(config.broker_password, secrets.token_urlsafe(32).encode() + b"\n", mode=0o600)
    except (OSError, SQLAlchemyError) as error:
        raise of_ground(config, error) from error
    return store


def install_trust(config: Config, file: Path) -> None:
    """Check a trust store and copy it into the data folder: the one to begin with, before any published update."""
    given = trust_store.load(file)
    store = prepare(config)
    try:
        with store.read() as session:
            releases_trust.check_given(session, given)
    finally:
        store.close()
    write_atomic(config.data / "trust.cbor", read_limited(file, trust_store.MAX_SIZE, "trust store"))


def of_ground(config: Config, error: Exception) -> TidegateError:
    """What the database or the disk said, with its remedy."""
    trouble = of_storage(error)
    return TidegateError(
        f"the data folder {config.data} cannot be used: {getattr(error, 'orig', error)}",
        "Check that it can be written and belongs to this server" if trouble is None else trouble.remedy,
    )
