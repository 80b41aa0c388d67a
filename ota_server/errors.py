"""Errors that the server raises on purpose: what is wrong, one word for programs, the remedy.

Nothing here knows HTTP: api/problems.py maps each class to a status.
"""

from __future__ import annotations

import errno
import logging
import sqlite3

from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, InterfaceError, OperationalError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeout

STORAGE_FULL_ERRNOS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class Problem(Exception):
    """Base of all of them. `kind` is one word for programs, `detail` names the thing, `remedy` says what to do."""

    def __init__(self, kind: str, detail: str, remedy: str = "") -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail
        self.remedy = remedy


class Invalid(Problem):
    """The request does not have the required form."""


class Unauthorised(Problem):
    """The caller did not show a valid token."""


class Forbidden(Problem):
    """The caller's token does not allow this."""


class NotFound(Problem):
    """The resource does not exist."""


class Conflict(Problem):
    """The request contradicts the present state."""


class TooLarge(Problem):
    """A body or a part of it is above its limit."""


class Unprocessable(Problem):
    """The request has the required form, and its content is wrong."""


class TooManyRequests(Problem):
    """The caller must slow down."""


class Unavailable(Problem):
    """The server cannot do this now."""


class StorageFull(Problem):
    """The disk, a quota or a file size limit."""

    def __init__(self, what: str) -> None:
        super().__init__(
            "storage-full", f"no room to store {what}", "Free space in the server's data folder, then repeat"
        )


_READ_ONLY_ERRNOS = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
# What SQLite says, in the order in which it is looked for, and what it means to whoever reads it.
_SQLITE = (
    (("locked", "busy"), "database-busy", "another process holds the database", "Try again in a few seconds"),
    (
        ("readonly", "read-only", "unable to open"),
        "database-read-only",
        "the database cannot be written",
        "Give the data folder and its files to the user that the server runs as, then repeat",
    ),
    (
        ("no such table", "no such column"),
        "database-changed",
        "the tables of the database are not those of this version",
        "Restart the server; if that does not help, go back to a backup of the database",
    ),
    (
        ("malformed", "not a database"),
        "database-damaged",
        "the database file is damaged",
        "Stop the server and go back to a backup of the database",
    ),
)


def of_storage(error: BaseException) -> Problem | None:
    """What an error of the database or the disk means, if trying again can help once the ground is mended.

    None: it is neither, so it is a mistake of this program.
    """
    if is_storage_full(error):
        return StorageFull("this")
    if isinstance(error, PoolTimeout):
        return Unavailable("database-busy", "the database is busy", "Try again in a few seconds")
    if isinstance(error, OSError) and error.errno in _READ_ONLY_ERRNOS:
        return Unavailable("folder-read-only", "the data folder cannot be written", _SQLITE[1][3])
    if not isinstance(error, DBAPIError) or isinstance(error, DataError | IntegrityError | ProgrammingError):
        return None
    text = str(error.orig).lower()
    for words, kind, detail, remedy in _SQLITE:
        if any(word in text for word in words):
            return Unavailable(kind, detail, remedy)
    if isinstance(error.orig, sqlite3.Error):
        return None
    if error.connection_invalidated or isinstance(error, OperationalError | InterfaceError):
        return Unavailable("database-away", "the database does not answer", "Try again; look whether it runs")
    return None


def log_trouble(log: logging.Logger, error: Exception, what: str, *args: object) -> None:
    """Log what failed: one line with the remedy if it is the ground's trouble, a traceback if it is our mistake."""
    trouble = of_storage(error)
    if trouble is None:
        log.error(what, *args, exc_info=error)
    else:
        log.warning(what + ": %s. %s", *args, trouble.detail, trouble.remedy)


def is_storage_full(error: BaseException) -> bool:
    """Whether an operating system or SQLite error means that the storage is full."""
    if isinstance(error, OperationalError):
        text = str(error.orig)
        return "disk is full" in text or "disk I/O error" in text
    return isinstance(error, OSError) and error.errno in STORAGE_FULL_ERRNOS
