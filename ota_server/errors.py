"""Errors that the server raises on purpose: what is wrong, one word for programs, the remedy.

Nothing here knows HTTP: api/problems.py maps each class to a status.
"""

from __future__ import annotations

import errno

from sqlalchemy.exc import OperationalError

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


def is_storage_full(error: BaseException) -> bool:
    """Whether an operating system or SQLite error means that the storage is full."""
    if isinstance(error, OperationalError):
        text = str(error.orig)
        return "disk is full" in text or "disk I/O error" in text
    return isinstance(error, OSError) and error.errno in STORAGE_FULL_ERRNOS
