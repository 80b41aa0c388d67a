"""The data folder as a whole: who holds it, and whether a server may start on it."""

from __future__ import annotations

import fcntl
from pathlib import Path
from typing import TextIO

from ota_server.config import DATABASE_URL, Config
from tidegate.errors import TidegateError

LOCK = "serve.lock"
RESTORING = ".restoring"  # the scratch folder of a restore; where it exists, the folder is not whole
MOVED = "tidegate.db.moved"  # the SQLite file of a server whose data is in PostgreSQL now


def hold(data: Path, *, alone: bool = True) -> TextIO:
    """Hold the folder until the file that is returned is closed, or this process ends, however it ends.

    alone: nobody else may hold it; otherwise other processes may that are not alone either.
    """
    try:
        lock = (data / LOCK).open("a")
    except OSError as error:
        raise TidegateError(
            f"the data folder {data} cannot be written: {error.strerror}", "Run as the user that it belongs to"
        ) from None
    try:
        fcntl.flock(lock, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise TidegateError(
            f"another server is running on {data}", "Stop it first, or name another folder with --data"
        ) from None
    return lock


def check_usable(config: Config) -> None:
    """Refuse to start on half a restored folder, and on a folder whose database has moved elsewhere."""
    if (config.data / RESTORING).exists():
        raise TidegateError(
            f"a restore into {config.data} was interrupted, or still runs",
            "Run `tidegate server restore` again; it begins anew",
        )
    address = config.database  # text that is no address is refused with its remedy, later
    sqlite = address.startswith("sqlite") if isinstance(address, str) else address.get_backend_name() == "sqlite"
    if sqlite and (config.data / MOVED).exists() and not (config.data / "tidegate.db").exists():
        raise TidegateError(
            f"the database of {config.data} was moved to PostgreSQL",
            f"Set {DATABASE_URL} to its address; to go back, rename {MOVED} to tidegate.db, without what came since",
        )
