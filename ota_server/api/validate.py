"""Turns requests into the shapes of api/shapes.py and its like, and what is wrong with them into problems."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NamedTuple, TypeVar

from flask import request
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from ota_server.errors import Invalid

UNUSABLE = "unusable"  # the type of our own errors: their context has detail and remedy
_STRUCTURE = {"missing", "extra_forbidden", "model_type", "model_attributes_type", "dict_type"}
_MEANS = {
    "string_type": "must be text",
    "bytes_type": "must be text",
    "int_type": "must be a whole number",
    "bool_type": "must be true or false",
    "dict_type": "must be an object",
    "model_type": "must be an object",
    "missing": "is missing",
    "extra_forbidden": "is not allowed here",
}


class Body(BaseModel):
    """Base of the shapes of JSON bodies: exactly the declared members, each of exactly its type."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)
    what: ClassVar[str] = "the body"
    kind: ClassVar[str] = "invalid-body"  # of errors in its structure
    value_kinds: ClassVar[Mapping[str, str]] = {}  # of errors in the value of a member, if it has a word of its own
    remedy: ClassVar[str] = "See docs/server.md"


class Query(BaseModel):
    """Base of the shapes of query parameters; unknown parameters are ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class Operation(NamedTuple):
    """What a view takes and answers, for openapi.json."""

    body: type[Body] | None = None
    query: type[Query] | None = None
    raw: str | None = None
    answer: str = "application/json"
    success: int = 200
    again: bool = False


B = TypeVar("B", bound=Body)
Q = TypeVar("Q", bound=Query)


def unusable(detail: str, remedy: str = "") -> PydanticCustomError:
    """The error that validators in shapes raise."""
    return PydanticCustomError(UNUSABLE, "{detail}", {"detail": detail, "remedy": remedy})


def parse_body(shape: type[B], value: Any) -> B:
    """`value`, decoded JSON, as `shape`. Raises Invalid."""
    try:
        return shape.model_validate(value)
    except ValidationError as error:
        raise _body_problem(shape, _first(error)) from None


def parse_query(shape: type[Q], values: dict[str, str]) -> Q:
    """Query parameters as `shape`. Raises Invalid."""
    try:
        return shape.model_validate(values)
    except ValidationError as error:
        wrong = _first(error)
        name = str(wrong["loc"][0]) if wrong["loc"] else "the query"
        if wrong["type"] == UNUSABLE:
            raise Invalid("invalid-parameter", wrong["ctx"]["detail"], wrong["ctx"]["remedy"]) from None
        raise Invalid("invalid-parameter", f"{name}: {wrong['msg']}", f"Correct ?{name}=") from None


def takes(
    body: type[Body] | None = None,
    query: type[Query] | None = None,
    raw: str | None = None,
    answer: str = "application/json",
    success: int = 200,
    again: bool = False,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorator of a view: gives it the parsed `body` and `query` as arguments of these names.

    It notes them for openapi.json too. raw: the media type of a body that the view reads itself. answer, success:
    media type and status of its answer; again: the same a second time changes nothing, and the status is 200.
    """

    def decorate(view: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(view)
        def parsed(**arguments: Any) -> Any:
            if query is not None:
                arguments["query"] = parse_query(query, request.args.to_dict())
            if body is not None:
                arguments["body"] = parse_body(body, json_value())
            return view(**arguments)

        parsed.shape = Operation(body, query, raw, answer, success, again)  # type: ignore[attr-defined]
        return parsed

    return decorate


def json_value() -> Any:
    """The JSON value in the request's body; Flask has bounded its size. Raises Invalid if it is nested too deeply."""
    try:
        return request.get_json()
    except RecursionError:
        raise Invalid("invalid-body", "the body is nested too deeply", "See docs/server.md") from None


def _first(error: ValidationError) -> ErrorDetails:
    """The error to report: of the structure before those of values."""
    found = error.errors(include_url=False, include_input=False)
    return next((one for one in found if len(one["loc"]) < 2 and one["type"] in _STRUCTURE), found[0])


def _body_problem(shape: type[Body], wrong: ErrorDetails) -> Invalid:
    place = ".".join(str(part) for part in wrong["loc"] if part != "[key]")
    kind = shape.value_kinds.get(str(wrong["loc"][0]) if wrong["loc"] else "", shape.kind)
    if wrong["type"] == UNUSABLE:
        context = wrong["ctx"]
        detail = context["detail"] if len(wrong["loc"]) < 2 else f"{place[:80]}: {context['detail']}"
        return Invalid(kind, detail, context["remedy"] or shape.remedy)
    if wrong["type"] == "string_unicode":
        return Invalid(
            "invalid-text", "a name or text in the request cannot be stored", "Check the request against docs/server.md"
        )
    if wrong["type"] in _STRUCTURE and len(wrong["loc"]) < 2 and _is_about_members(wrong):
        return Invalid(shape.kind, f"{shape.what} must be a JSON object with {_members(shape)}", shape.remedy)
    limits = wrong.get("ctx", {})
    if "ge" in limits or "le" in limits:
        limit = f"below {limits['ge']}" if "ge" in limits else f"above {limits['le']}"
        return Invalid(kind, f"{place[:80]} must not be {limit}", shape.remedy)
    means = _MEANS.get(wrong["type"]) or wrong["msg"][:1].lower() + wrong["msg"][1:]
    return Invalid(kind, f"{place[:80] or shape.what} {means}", shape.remedy)


def _is_about_members(wrong: ErrorDetails) -> bool:
    return not wrong["loc"] or wrong["type"] in ("missing", "extra_forbidden")


def _members(shape: type[Body]) -> str:
    required = [field.alias or name for name, field in shape.model_fields.items() if field.is_required()]
    optional = [field.alias or name for name, field in shape.model_fields.items() if not field.is_required()]
    if not required:
        return f"no members but {', '.join(optional)}"
    return f"exactly the members {', '.join(required)}" + (f", and may have {', '.join(optional)}" if optional else "")
