"""Errors as application/problem+json (RFC 9457), each with its HTTP status and a remedy."""

from __future__ import annotations

import logging

from flask import Flask, Response, json, request
from sqlalchemy.exc import DataError
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge
from werkzeug.http import HTTP_STATUS_CODES

from ota_server import errors
from ota_server.errors import Problem
from ota_server.log_lines import Seldom
from tidegate.errors import Refused, TidegateError

log = logging.getLogger("tidegate.http")

STATUS: dict[type[Problem], int] = {
    errors.Invalid: 400,
    errors.Unauthorised: 401,
    errors.Forbidden: 403,
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.TooLarge: 413,
    errors.Unprocessable: 422,
    errors.TooManyRequests: 429,
    errors.Unavailable: 503,
    errors.StorageFull: 507,
}
_HEADERS: dict[type[Problem], dict[str, str]] = {
    errors.Unauthorised: {"WWW-Authenticate": 'Bearer realm="tidegate"'},
    errors.TooManyRequests: {"Retry-After": "10"},
    errors.Unavailable: {"Retry-After": "5"},
}
_REMEDIES = {
    400: "Check the request against docs/server.md",
    404: "Check the address; docs/server.md lists them",
    405: "Use one of the methods in the Allow header",
    413: "Send less",
    415: "Send JSON with the header Content-Type: application/json",
}


def document(status: int, kind: str, detail: str, remedy: str = "") -> Response:
    """A problem document as a response."""
    body = {
        "type": f"about:tidegate/{kind}",
        "title": HTTP_STATUS_CODES.get(status, "Error"),
        "status": status,
        "detail": detail,
        "remedy": remedy,
    }
    return Response(json.dumps(body) + "\n", status, mimetype="application/problem+json")


def init_app(app: Flask) -> None:
    """Turn every error that a caller of the API can meet into a problem document; no answer shows a traceback."""
    seldom: dict[str, Seldom] = {}

    @app.errorhandler(Problem)
    def problem(error: Problem) -> Response:
        response = document(STATUS[type(error)], error.kind, error.detail, error.remedy)
        response.headers.update(_HEADERS.get(type(error), {}))
        return response

    @app.errorhandler(Refused)
    def refused(error: Refused) -> Response:
        return document(422, error.reason, error.message, error.remedy)

    @app.errorhandler(TidegateError)
    def failed(error: TidegateError) -> Response:
        return document(422, "invalid", error.message, error.remedy)

    @app.errorhandler(RequestEntityTooLarge)
    def too_large(error: RequestEntityTooLarge) -> Response:
        return document(413, "too-large", "the request body is longer than this address accepts", _REMEDIES[413])

    @app.errorhandler(DataError)
    @app.errorhandler(UnicodeEncodeError)
    def not_storable(error: Exception) -> Response:
        # NUL on PostgreSQL, half a surrogate pair on every database. No valid name contains either.
        log.warning(
            "%s %s: the database cannot store its text (%s)", request.method, request.path, type(error).__name__
        )
        return document(400, "invalid-text", "a name or text in the request cannot be stored", _REMEDIES[400])

    @app.errorhandler(HTTPException)
    def http(error: HTTPException) -> Response:
        status = error.code or 500
        response = document(
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
        trouble = errors.of_storage(error)
        if trouble is not None:
            if seldom.setdefault(trouble.kind, Seldom())():  # every request meets it until it is mended
                log.warning("%s %s: %s (%s)", request.method, request.path, trouble.detail, type(error).__name__)
            return problem(trouble)
        log.exception("%s %s failed", request.method, request.path)
        return document(500, "internal", "the server made a mistake", "Look at the server's log; nothing was changed")
