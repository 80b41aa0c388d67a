"""Work that one process at a time may do, among all that use one database.

On PostgreSQL it is an advisory lock of a connection that is held as long as the work: if the process ends, however it
ends, the lock is free, and a process that waited goes on. On SQLite there is one process, which holds its folder.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import threading
from collections.abc import Callable

from sqlalchemy import Connection, text
from sqlalchemy.exc import SQLAlchemyError

from ota_server.errors import log_trouble
from ota_server.store.engine import Store

log = logging.getLogger("tidegate.lease")

LOOK_S = 1.0  # between two tries to get it, and two looks whether we still have it
STOP_S = 15.0


class Lease:
    """A thread that calls `begin` when this process gets the lease, and `end` when it has lost it or stops."""

    def __init__(self, store: Store, name: str, begin: Callable[[], None], end: Callable[[], None]) -> None:
        """name: the work, as in "file what devices publish"."""
        self._store = store
        self._name = name
        self._begin = begin
        self._end = end
        self._number = int.from_bytes(hashlib.sha256(b"lease " + name.encode()).digest()[:8], "big", signed=True)
        self._stopping = threading.Event()
        self._is_said = False
        self._thread = threading.Thread(target=self._run, name="lease", daemon=True)

    def start(self) -> None:
        """On SQLite the work begins before this returns."""
        if not self._store.on_postgresql:
            self._begin()
        else:
            self._thread.start()

    def stop(self) -> None:
        """End the work, if it is ours, and let others have it."""
        self._stopping.set()
        if not self._store.on_postgresql:
            self._end()
        elif self._thread.is_alive():
            self._thread.join(STOP_S)

    def _run(self) -> None:
        while not self._stopping.is_set():
            connection = self._get()
            if connection is not None:
                self._begin()
                while not self._stopping.wait(LOOK_S) and _stands(connection):
                    pass
                if not self._stopping.is_set():
                    log.warning("the connection to the database is gone, and with it the right to %s", self._name)
                self._end()
                _discard(connection)
            self._stopping.wait(LOOK_S)

    def _get(self) -> Connection | None:
        """A connection that holds the lock, or None while another process has it or the database is away."""
        connection = None
        try:
            connection = self._store.engine.connect().execution_options(isolation_level="AUTOCOMMIT")
            if connection.scalar(text("SELECT pg_try_advisory_lock(:number)"), {"number": self._number}):
                return connection
            if not self._is_said:
                log.warning("another process has the right to %s; this one waits to take over", self._name)
                self._is_said = True
        except SQLAlchemyError as error:
            log_trouble(log, error, "could not ask for the right to %s", self._name)
        if connection is not None:
            _discard(connection)
        return None


def _stands(connection: Connection) -> bool:
    try:
        connection.scalar(text("SELECT 1"))
    except SQLAlchemyError:
        return False
    return True


def _discard(connection: Connection) -> None:
    """Close it for good: in the pool it would still hold its locks."""
    with contextlib.suppress(SQLAlchemyError):
        connection.invalidate()
        connection.close()
