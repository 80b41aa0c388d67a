"""A server from before groups keeps what it published: every release stands in its channel, every device in a group."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import text

import ota_server.store
from ota_server.store import Store, groups, migrate, offers
from ota_server.store.engine import _make_engine
from ota_server.store.models import Device


def test_what_was_published_before_stays_on_offer(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'old.db'}"
    store, migrating = Store(url), _make_engine(url, foreign_keys=False)
    config = Config()
    config.set_main_option("script_location", str(Path(ota_server.store.__file__).parent / "migrations"))
    with migrating.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0005")
        for sequence in (1, 2):
            connection.execute(
                text(
                    "INSERT INTO release (id, product, vendor, version, sequence, created_at) "
                    f"VALUES ({sequence}, 'p', 'v.example', '1.{sequence}', {sequence}, 5)"
                )
            )
            connection.execute(
                text(
                    "INSERT INTO target (id, release_id, board, envelope, manifest_digest, image_digest, image_size, "
                    f"patches, withdrawn) VALUES ({sequence}, {sequence}, 'unix', x'00', 'm', 'i', 9, '[]', 0)"
                )
            )
        connection.execute(
            text(
                "INSERT INTO device (id, board, product, password_hash, created_at, protocol, online, trial, sequence) "
                "VALUES ('g', 'unix', 'p', 'h', 5, 'mqtt', 0, 0, 1)"
            )
        )
    migrate(url)
    with store.write() as session:
        assert offers.derive(session) == 1
        device = session.get(Device, "g")
        assert device is not None and device.group == "default" and device.offer_id == 2
        assert groups.channels(session, 1) == groups.channels(session, 2) == ["stable"]
    with migrating.begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "0005")
        command.upgrade(config, "head")
    with store.read() as session:
        assert groups.channels(session, 2) == ["stable"]
