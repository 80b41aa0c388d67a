"""Whatever enters is judged where it enters: every route, with odd bodies, parameters and names, is never 5xx."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from flask.testing import FlaskClient
from in_process import application

TEXTS = [
    "",
    " ",
    "\0",
    "a\0b",
    "\ud800",
    "\ud83d\ude00",
    "\u202e",
    "é" * 400,
    "x" * 70_000,
    "../../etc/passwd",
    "%s%n",
    "-1",
    "0",
    "1e999",
    "9" * 400,
    "9223372036854775808",
    "-9223372036854775809",
    "99999-99999",
    "999999999999999-999999999999999999",
    "0001-01-01T00:00:00Z",
    "9999-12-31T23:59:59.999999Z",
    "2026-11-29T00:00:00+99:99",
    "1d",
    "999999999d",
    "NaN",
    "null",
    "tg/+/up/#",
    "gate-1",
    "a" * 64,
    "1.0.0",
    "stable",
]
VALUES: list[Any] = [
    None,
    True,
    False,
    0,
    -1,
    1,
    2**31,
    2**53 + 1,
    2**63 - 1,
    2**63,
    -(2**63) - 1,
    10**300,
    1.5,
    1e308,
    -0.0,
    [],
    [[]],
    [None],
    {},
    {"": None},
    {"a": {"b": {"c": []}}},
    *TEXTS,
]
RAW = [
    b"",
    b"\0",
    b"\xff\xfe",
    b"\xed\xa0\x80",
    b"{",
    b'{"a":1,"a":2}',
    b"NaN",
    b"Infinity",
    b'{"id": -Infinity}',
    b"1e9999",
    b"9" * 5000,
    b'"\\ud800"',
    b"[" * 100_000,
    b'{"a":' * 20_000,
    b"\xef\xbb\xbf{}",
    b'{"id":"\x00"}',
    b"[]",
    b"null",
    b"\x1f\x8b\x08",
    b"\xbf" * 400,
    b"\x9f" * 600,
    b"\xa1" * 600,
    b"\x81" * 1000,
    b"\xfb\x7f\xf8\0\0\0\0\0\0",
    b"\x1b" + b"\xff" * 8,
]
NAMES = [
    "gate-1",
    "gate-2",
    "%00",
    "%ed%a0%80",
    "%ff",
    "%0a",
    "..",
    "%2e%2e%2f",
    "a" * 300,
    "0",
    "-1",
    "9" * 400,
    "9223372036854775808",
    "%f0%9f%98%80",
    "a" * 64,
    "'%22",
    "1.0.0",
]
KINDS = [
    "application/json",
    "application/cbor",
    "application/octet-stream",
    "text/plain",
    "application/json; charset=\u00ff",
    "",
]


class Tried:
    def __init__(self, client: FlaskClient, app, token: str):
        self.client, self.app, self.token = client, app, token

    def routes(self) -> Iterator[tuple[str, str, list[str]]]:
        for rule in self.app.url_map.iter_rules():
            for method in sorted(rule.methods - {"OPTIONS"}):
                yield method, rule.rule, sorted(rule.arguments)

    def ask(self, method: str, path: str, kind: str = "application/json", body: bytes = b"", query: str = "") -> int:
        answer = self.client.open(
            path + (f"?{query}" if query else ""),
            method=method,
            data=body,
            content_type=kind,
            headers={"Authorization": f"Bearer {self.token}"},
        )
        assert answer.status_code < 500, (method, path[:200], kind, body[:100], query[:200], answer.text[:500])
        return answer.status_code


@pytest.fixture(scope="module")
def tried(tmp_path_factory, ring) -> Iterator[Tried]:
    with application(tmp_path_factory.mktemp("odd"), ring.trust) as (app, token):
        yield Tried(app.test_client(), app, token)


def filled(rule: str, arguments: list[str], value: str) -> str:
    for argument in arguments:
        for converter in ("", "path:", "int:"):
            rule = rule.replace(f"<{converter}{argument}>", value)
    return rule


def test_odd_names(tried):
    for (method, rule, arguments), name in itertools.product(tried.routes(), NAMES):
        if arguments:
            tried.ask(method, filled(rule, arguments, name))


def test_odd_bodies(tried):
    for method, rule, arguments in tried.routes():
        if method in ("POST", "PUT", "PATCH", "DELETE"):
            for body, kind in itertools.product(RAW, KINDS[:4]):
                tried.ask(method, filled(rule, arguments, "gate-1"), kind, body)
            for kind in KINDS:
                tried.ask(method, filled(rule, arguments, "gate-1"), kind, b"{}")


def test_odd_parameters(tried):
    shapes = {
        rule.rule: tried.app.view_functions[rule.endpoint].shape.query
        for rule in tried.app.url_map.iter_rules()
        if getattr(tried.app.view_functions[rule.endpoint], "shape", None)
    }
    odd = [quote(text.encode("utf-8", "surrogatepass")) for text in TEXTS if len(text) < 5000] + [
        "%ff",
        "%00",
        "%0d%0a",
        "%",
    ]
    tries = 0
    for method, rule, arguments in tried.routes():
        shape = shapes.get(rule)
        for name in shape.model_fields if shape is not None else ():
            for value in odd:
                tried.ask(method, filled(rule, arguments, "gate-1"), query=f"{name}={value}")
                tries += 1
    assert tries > 500


def test_odd_members(tried):
    """Each member of each JSON body, with each odd value, the others as they should be."""
    good: dict[str, Any] = {
        "id": "gate-9",
        "board": "unix",
        "product": "p",
        "name": None,
        "group": "default",
        "vendor": "v",
        "version": "1.0.0",
        "sequence": 1,
        "targets": {},
        "channel": "stable",
        "expires_s": 60,
        "device": "gate-1",
        "command": "AAAA",
    }
    tries = 0
    for rule in tried.app.url_map.iter_rules():
        shape = getattr(tried.app.view_functions[rule.endpoint], "shape", None)
        if shape is None or shape.body is None:
            continue
        (method,) = rule.methods - {"OPTIONS", "HEAD", "GET"}
        members = list(shape.body.model_fields)
        for member, value in itertools.product([*members, "other"], VALUES):
            body = {name: good.get(name, "x") for name in members} | {member: value}
            tried.ask(method, filled(rule.rule, sorted(rule.arguments), "gate-1"), body=json.dumps(body).encode())
            tries += 1
    assert tries > 500


def test_odd_headers(tried):
    for name in (
        "Authorization",
        "Content-Length",
        "Content-Type",
        "If-Match",
        "If-None-Match",
        "Range",
        "Accept",
        "Cookie",
        "Host",
    ):
        for value in (
            "",
            "Bearer",
            "Bearer \u00ff",
            "Bearer tg_" + "x" * 5000,
            "-1",
            "1e3",
            "9" * 5000,
            "\u00e9",
            '"',
            "*/*;q=x",
            ";;;",
        ):
            for path in ("/api/v1/devices", "/api/v1/alarms", "/p/" + "a" * 64, "/"):
                answer = tried.client.open(path, environ_overrides={"HTTP_" + name.upper().replace("-", "_"): value})
                assert answer.status_code < 500, (name, value[:50], path, answer.text[:300])
