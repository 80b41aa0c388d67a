"""/api/v1/openapi.json describes every route, and the server keeps to it."""

from __future__ import annotations

import json
import re

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from ota_server import errors
from ota_server.api import openapi, publication_shapes, rollout_shapes, shapes, validate
from ota_server.application import create_app
from ota_server.config import Config

BODIES = {**vars(shapes), **vars(publication_shapes), **vars(rollout_shapes)}


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    return create_app(Config(data=tmp_path_factory.mktemp("openapi")))


@pytest.fixture(scope="module")
def document(app):
    answer = app.test_client().get("/api/v1/openapi.json")
    assert answer.status_code == 200 and answer.mimetype == "application/json"
    return answer.get_json()


def operations(document):
    return [(path, method, told) for path, methods in document["paths"].items() for method, told in methods.items()]


def test_it_is_openapi_3_1(document):
    assert document["openapi"] == "3.1.0"
    assert [str(error) for error in OpenAPIV31SpecValidator(document).iter_errors()] == []
    damaged = json.loads(json.dumps(document))
    damaged["paths"]["/healthz"]["get"]["responses"] = []
    assert list(OpenAPIV31SpecValidator(damaged).iter_errors())


def test_every_route_and_method_is_in_it(app, document):
    routes = {
        (re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule), method.lower())
        for rule in app.url_map.iter_rules()
        for method in rule.methods - {"HEAD", "OPTIONS"}
        if not rule.endpoint.startswith("web.")  # pages for people
    }
    assert {(path, method) for path, method, _ in operations(document)} == routes
    assert len(routes) == sum(1 for _ in openapi.rules(app)) > 35


def test_each_says_what_it_is_for_what_it_needs_and_what_it_takes(document):
    for path, method, told in operations(document):
        assert len(told["summary"]) > 10, (path, method)
        assert ("scope" in told["description"]) == bool(told["security"]), (path, method)
        named = {parameter["name"] for parameter in told["parameters"] if parameter["in"] == "path"}
        assert named == set(re.findall(r"{(\w+)}", path)), (path, method)
    without_body = {"/api/v1/devices/{device_id}/credentials", "/api/v1/devices/{device_id}/revoke"}
    without_body |= {
        "/api/v1/commands/{cti}/cancel",
        "/api/v1/sign-in-tickets",
        "/api/v1/rollouts/{product}/{version}/retry",
    }
    without_body |= {"/api/v1/rollouts/{product}/{version}/waves/retry"}
    for path, method, told in operations(document):
        takes_one = method in ("post", "put", "patch") and path not in without_body
        assert ("requestBody" in told) == takes_one, (path, method)
    names = [told["operationId"] for _, _, told in operations(document)]
    assert len(names) == len(set(names))


def test_the_schemas_are_those_that_requests_are_checked_by(app, document):
    device = document["components"]["schemas"]["RegisterDevice"]
    assert device["required"] == ["id", "board", "product"] and device["additionalProperties"] is False
    assert device["properties"]["id"]["pattern"] == "^[a-z0-9-]{1,32}$"
    limit = next(p for p in document["paths"]["/api/v1/alarms"]["get"]["parameters"] if p["name"] == "limit")
    assert limit["schema"]["maximum"] == 500 and limit["required"] is False
    moment = document["paths"]["/api/v1/devices/{device_id}/telemetry"]["get"]["parameters"]
    assert {p["name"] for p in moment} >= {"since", "until", "cursor", "after", "limit", "stream", "name"}
    released = document["components"]["schemas"]["PublishRelease"]
    assert released["properties"]["targets"]["maxProperties"] == 64


WRONG = [
    (
        "RegisterDevice",
        {"id": "Upper", "board": "b", "product": "p"},
        "invalid-device",
        "'Upper' is not a valid",
    ),
    ("RegisterDevice", {"id": "a"}, "invalid-body", "exactly the members id, board, product"),
    ("RegisterDevice", [], "invalid-body", "must be a JSON object"),
    ("RenameDevice", {"name": "-"}, "invalid-name", "'-' is not a valid device name"),
    ("MakeClaim", {"expires_s": True}, "invalid-claim", "expires_s must be a whole number"),
    ("MakeClaim", {"expires_s": 0}, "invalid-claim", "expires_s must not be below 1"),
    ("MakeClaim", {"colour": "red"}, "invalid-claim", "no members but device"),
    ("PublishTrust", {"update": "%%"}, "invalid-body", "not base64"),
    ("PublishRelease", {"product": "p"}, "invalid-release", "and may have channel"),
    ("ChangeGroups", {"seen": 3, "groups": {}, "devices": {}}, "invalid-change", "seen must be text"),
    ("ChangeGroups", {"seen": None, "groups": [], "devices": {}}, "invalid-change", "groups must be an object"),
    (
        "ChangeGroups",
        {"seen": None, "groups": {"A": {}}, "devices": {}},
        "invalid-change",
        "'A' is not a valid",
    ),
    ("RolloutTarget", {"channel": "a", "group": "b"}, "invalid-body", "the member channel or the member group"),
]


@pytest.mark.parametrize(("shape", "value", "kind", "words"), WRONG, ids=lambda value: str(value)[:30])
def test_what_is_wrong_is_named_with_a_remedy(shape, value, kind, words):
    with pytest.raises(errors.Invalid) as caught:
        validate.parse_body(BODIES[shape], value)
    assert caught.value.kind == kind and words in caught.value.detail and caught.value.remedy


def test_a_long_value_is_refused_before_it_is_decoded():
    with pytest.raises(errors.TooLarge, match="more than 1024 bytes"):
        validate.parse_body(shapes.HandInCommand, {"command": "%" * 100_000})


def test_wrong_parameters_are_named(app):
    for shape, values, words in (
        (shapes.Page, {"limit": "501"}, "limit must be a number from 0 to 500"),
        (shapes.Commands, {"state": "lost"}, "not a state"),
        (shapes.History, {"cursor": "7"}, "cursor"),
        (shapes.Series, {"since": "2026-11-21T12:00:00"}, "since is not a time"),
    ):
        with pytest.raises(errors.Invalid, match=words) as caught:
            validate.parse_query(shape, values)
        assert caught.value.kind == "invalid-parameter" and caught.value.remedy
