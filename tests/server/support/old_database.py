"""A database as an older version of the server left it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from alembic.config import Config
from sqlalchemy import Engine, create_engine

import ota_server


def make(tmp_path: Path) -> tuple[Engine, Callable[[Callable[..., None], str], None]]:
    """(engine, move) of an empty SQLite database. move(way, revision): way is alembic's upgrade or downgrade."""
    config, engine = Config(), create_engine(f"sqlite:///{tmp_path}/old.db")
    config.set_main_option("script_location", str(Path(ota_server.__file__).parent / "store" / "migrations"))

    def move(way: Callable[..., None], revision: str) -> None:
        with engine.begin() as connection:
            config.attributes["connection"] = connection
            way(config, revision)

    return engine, move
