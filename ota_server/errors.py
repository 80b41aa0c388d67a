"""Errors as application/problem+json (RFC 9457), each with what to do about it."""

from __future__ import annotations

import errno
import logging

from flask import Flask, Response, json, request
from sqlalchemy.exc import DataError, OperationalError
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge
from werkzeug.http import HTTP_STATUS_CODES

from tidegate.errors import Refused, TidegateError

log = logging.getLogger("tidegate.http")

STORAGE_FULL_ERRNOS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_REMEDIES = {
    400: "Check the request against docs/server.md",
    404: "Check the address; docs/server.md lists them",
    405: "Use one of the methods in the Allow header",
    413: "Send less",
    415: "Send JSON with the header Content-Type: application/json",
}


class Problem(Exception):
    """An answer that is an error: HTTP status, one word for programs, the thing that is wrong, the remedy."""

    def __init__(self, status: int, kind: str, detail: str, remedy: str = "", **headers: str) -> None:
        super().__init__(detail)
        self.status = status
        self.kind = kind
        self.detail = detail
        self.remedy = remedy
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


class StorageFull(Problem):
    """The disk, a quota or a file size limit."""

    def __init__(self, what: str) -> None:
        super().__init__(
            507,
            "storage-full",
            f"no room to store {what}",
            "Free space in the server's data folder, then repeat",
        )


def answer(status: int, kind: str, detail: str, remedy: str = "") -> Response:
    body = {
        "type": f"about:tidegate/{kind}",
        "title": HTTP_STATUS_CODES.get(status, "Error"),
        "status": status,
        "detail": detail,
        "remedy": remedy,
    }
    return Response(json.dumps(body) + "\n", status, mimetype="application/problem+json")


def is_storage_full(error: BaseException) -> bool:
    """Whether an operating system or SQLite error means that there is no room left."""
    if isinstance(error, OperationalError):
        text = str(error.orig)
        return "disk is full" in text or "disk I/O error" in text
    return isinstance(error, OSError) and error.errno in STORAGE_FULL_ERRNOS


def init_app(app: Flask) -> None:
    """Every error an API caller can meet becomes a problem document; nothing shows a traceback."""

    @app.errorhandler(Problem)
    def problem(error: Problem) -> Response:
        response = answer(error.status, error.kind, error.detail, error.remedy)
        response.headers.update(error.headers)
        return response

    @app.errorhandler(Refused)
    def refused(error: Refused) -> Response:
        return answer(422, error.reason, error.message, error.remedy)

    @app.errorhandler(TidegateError)
    def failed(error: TidegateError) -> Response:
        return answer(422, "invalid", error.message, error.remedy)

    @app.errorhandler(RequestEntityTooLarge)
    def too_large(error: RequestEntityTooLarge) -> Response:
        return answer(413, "too-large", "the request body is longer than this address accepts", _REMEDIES[413])

    @app.errorhandler(DataError)
    @app.errorhandler(UnicodeEncodeError)
    def unfit(error: Exception) -> Response:
        # NUL where the database is PostgreSQL, half a surrogate pair everywhere: no name here has either.
        log.warning("%s %s: what it sent cannot be stored (%s)", request.method, request.path, type(error).__name__)
        return answer(400, "invalid-text", "a name or text in the request cannot be stored", _REMEDIES[400])

    @app.errorhandler(HTTPException)
    def http(error: HTTPException) -> Response:
        status = error.code or 500
        response = answer(
            status,
            HTTP_STATUS_CODES.get(status, "error").lower().replace(" ", "-"),
            error.description or error.name,
            _REMEDIES.get(status, ""),
        )
        for name, value in error.get_headers():
            if name.lower() not in ("content-type", "content-length"):
                response.headers[name] = value
        return response

    @app.errorhandler(Exception)
    def unexpected(error: Exception) -> Response:
        if is_storage_full(error):
            return problem(StorageFull("this"))
        log.exception("%s %s failed", request.method, request.path)
        return answer(500, "internal", "the server made a mistake", "Look at the server's log; nothing was changed")
