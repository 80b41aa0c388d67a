"""The database: migrations, and counters and chains that hold under several writers at once."""

from __future__ import annotations

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from at_once import together
from sqlalchemy import select

from ota_server.security import audit, device_login, password_hashes
from ota_server.store import Store, alarms, commands, migrate
from ota_server.store.models import Audit, Base, Command, Device


@pytest.fixture
def url(tmp_path) -> str:
    url = f"sqlite:///{tmp_path / 'tidegate.db'}"
    migrate(url)
    return url


def test_the_migrations_make_the_models(url):
    migrate(url)  # again is harmless
    with Store(url).engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1


def test_counters_are_exact_and_the_chain_is_whole_with_many_writers(url):
    def work(number: int) -> None:
        store = Store(url)  # as another process would: with its own connections
        for i in range(20):
            with store.write() as session:
                alarms.count(session, "x")
                audit.record(session, f"writer {number}", "test", str(i))

    together(6, work)
    with Store(url).read() as session:
        assert alarms.counters(session) == {"x": 120}
        assert audit.first_break(session) is None and len(session.scalars(select(Audit)).all()) == 120


def test_a_command_is_claimed_once(url):
    store = Store(url)
    with store.write() as session:
        for i in range(10):
            session.add(Device(id=f"gw-{i}", board="b", product="p", password_hash="x", online=True))
            session.flush()
            told = {"cti": str(i), "kid": "k", "opcode": "o", "message": b"m", "state": "verified"}
            session.add(Command(device_id=f"gw-{i}", expires_at=2**50, **told))
    claimed: list[int] = []

    def work(_number: int) -> None:
        mine = Store(url)
        for row in range(1, 11):
            with mine.write() as session:
                if commands.claim(session, row):
                    claimed.append(row)

    together(4, work)
    assert sorted(claimed) == list(range(1, 11))


def test_a_write_that_fails_leaves_nothing(url):
    store = Store(url)
    with pytest.raises(ZeroDivisionError), store.write() as session:
        alarms.count(session, "x")
        session.flush()
        raise ZeroDivisionError
    with store.read() as session:
        assert alarms.counters(session) == {}


def test_passwords_have_mosquittos_form():
    stored = password_hashes.hashed("secret")
    assert stored.startswith("$7$101$") and password_hashes.matches(b"secret", stored)
    assert not password_hashes.matches(b"Secret", stored) and not password_hashes.matches(b"", stored)
    for broken in ("", "x", "$6$a$b", "$7$0$YQ==$YQ==", "$7$x$YQ==$YQ==", "$7$101$!$!", "$7$99999999999$YQ==$YQ=="):
        assert not password_hashes.matches(b"secret", broken)
    assert len({password_hashes.generate() for _ in range(100)}) == 100 and len(password_hashes.generate()) == 32


def test_a_revoked_device_does_not_log_in_whatever_password_it_has(url):
    """Also one that got new credentials in the same moment."""
    store = Store(url)
    with store.write() as session:
        session.add(Device(id="gw-1", board="unix", product="p", password_hash=password_hashes.hashed("secret")))
    assert device_login.is_right(store, "gw-1", b"secret") and not device_login.is_right(store, "gw-2", b"secret")
    with store.write() as session:
        session.get(Device, "gw-1").revoked_at = 1
    assert not device_login.is_right(store, "gw-1", b"secret")
    store.close()
