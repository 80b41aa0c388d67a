"""GET /api/v1/openapi.json: the API as OpenAPI 3.1, made of the routes, their shapes and their docstrings."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Iterator
from importlib import metadata
from typing import Any

from flask import Blueprint, Flask, current_app
from pydantic.json_schema import models_json_schema
from werkzeug.http import HTTP_STATUS_CODES
from werkzeug.routing import Rule

from ota_server.api.validate import Body, Operation, Query

blueprint = Blueprint("openapi", __name__)

_REFERENCE = "#/components/schemas/{model}"
_PAGES = ("web.", "static")  # not part of the API
_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
_PARAMETER = re.compile(r"<(?:\w+:)?(\w+)>")
_PROBLEM = {
    "title": "Problem",
    "description": "What is wrong (RFC 9457), with a remedy",
    "type": "object",
    "required": ["type", "title", "status", "detail", "remedy"],
    "properties": {
        "type": {"type": "string", "description": "about:tidegate/ and one word for programs"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "what is wrong"},
        "remedy": {"type": "string", "description": "what to do about it"},
    },
}


@blueprint.get("/openapi.json")
def show() -> dict[str, Any]:
    """This document."""
    return _document(current_app._get_current_object())  # type: ignore[attr-defined]


@functools.lru_cache(maxsize=1)
def _document(app: Flask) -> dict[str, Any]:
    return document(app)


def rules(app: Flask) -> Iterator[tuple[Rule, str]]:
    """The routes of the API with their methods."""
    for rule in sorted(app.url_map.iter_rules(), key=lambda rule: rule.rule):
        if not rule.endpoint.startswith(_PAGES):
            yield from ((rule, method) for method in _METHODS if method in (rule.methods or ()))


def path(rule: Rule) -> str:
    """The route as OpenAPI writes it: {name} for a parameter."""
    return _PARAMETER.sub(r"{\1}", rule.rule)


def document(app: Flask) -> dict[str, Any]:
    """The OpenAPI document of the application's routes."""
    paths: dict[str, dict[str, Any]] = {}
    bodies: dict[str, type[Body]] = {}
    for rule, method in rules(app):
        view = app.view_functions[rule.endpoint]
        operation: Operation = getattr(view, "shape", Operation())
        if operation.body is not None:
            bodies[operation.body.__name__] = operation.body
        paths.setdefault(path(rule), {})[method.lower()] = _operation(rule, view, operation)
    _, schemas = models_json_schema([(body, "validation") for body in bodies.values()], ref_template=_REFERENCE)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Tidegate", "version": metadata.version("tidegate"), "license": {"name": "MIT"}},
        "paths": paths,
        "components": {
            "schemas": {**schemas.get("$defs", {}), "Problem": _PROBLEM},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(rule: Rule, view: Any, operation: Operation) -> dict[str, Any]:
    summary, _, rest = inspect.getdoc(view).partition("\n\n")  # type: ignore[union-attr]
    scope = getattr(view, "scope", None)
    needs = f"Needs a token with the scope {scope}." if scope else "Needs no token."
    out: dict[str, Any] = {
        "operationId": rule.endpoint,
        "tags": [rule.endpoint.partition(".")[0]],
        "summary": " ".join(summary.split()),
        "description": " ".join([*rest.split(), needs]),
        "security": [{"token": []}] if scope else [],
        "parameters": [
            *({"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in _names(rule)),
            *_query_parameters(operation.query),
        ],
        "responses": {
            str(operation.success): _answer(HTTP_STATUS_CODES[operation.success], operation.answer),
            **({"200": _answer("The same was there before", operation.answer)} if operation.again else {}),
            "default": {
                "description": "What is wrong, and the remedy",
                "content": {"application/problem+json": {"schema": {"$ref": _REFERENCE.format(model="Problem")}}},
            },
        },
    }
    if operation.body is not None:
        schema = {"$ref": _REFERENCE.format(model=operation.body.__name__)}
        out["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    elif operation.raw is not None:
        out["requestBody"] = {"required": True, "content": {operation.raw: {"schema": _schema_of(operation.raw)}}}
    return out


def _answer(description: str, media_type: str) -> dict[str, Any]:
    return {"description": description, "content": {media_type: {"schema": _schema_of(media_type)}}}


def _schema_of(media_type: str) -> dict[str, str]:
    return {"type": "object"} if media_type == "application/json" else {}  # bytes have no schema in OpenAPI 3.1


def _names(rule: Rule) -> list[str]:
    return _PARAMETER.findall(rule.rule)


def _query_parameters(query: type[Query] | None) -> list[dict[str, Any]]:
    properties = {} if query is None else query.model_json_schema()["properties"]
    return [
        {"name": name, "in": "query", "required": False, "schema": _without_null(schema)}
        for name, schema in properties.items()
    ]


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """A parameter is there or not, but never null."""
    kinds = [kind for kind in schema.get("anyOf", ()) if kind != {"type": "null"}]
    if len(kinds) == 1:
        schema = {**{name: value for name, value in schema.items() if name != "anyOf"}, **kinds[0]}
    return {name: value for name, value in schema.items() if not (name == "default" and value is None)}
