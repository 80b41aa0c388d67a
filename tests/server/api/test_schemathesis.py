"""Schemathesis reads /api/v1/openapi.json, makes requests of its own, and checks that every answer is as described.

In process and in a fixed order: the same examples each time. TIDEGATE_FULL makes many more.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import cbor2
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from in_process import application
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi import checks

EXAMPLES = 100 if os.environ.get("TIDEGATE_FULL") else 3
CHECKS = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
    checks.response_headers_conformance,
    checks.unsupported_method,
]


@schemathesis.serializer("application/cbor")
def as_cbor(_context: Any, value: Any) -> bytes:
    return value if isinstance(value, bytes) else cbor2.dumps(value)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, ring: Any) -> Iterator[Any]:
    """The schema of an application with a device, and the headers of its admin."""
    with application(tmp_path_factory.mktemp("schemathesis"), ring.trust) as (app, token):
        schema = schemathesis.openapi.from_wsgi("/api/v1/openapi.json", app)
        schema.test_headers = {"Authorization": f"Bearer {token}"}
        yield schema


def tried(operation: Any, headers: dict[str, str]) -> None:
    """Some requests to one operation, each judged."""

    @given(case=operation.as_strategy())
    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def ask(case: Any) -> None:
        case.call_and_validate(headers=headers, checks=CHECKS)

    ask()


def test_answers_are_as_described(served: Any) -> None:
    # One after the other by hand: schemathesis' own plugin does not know this version of pytest.
    operations = [found.ok() for found in served.get_all_operations()]
    assert len(operations) > 50
    wrong = []
    for operation in operations:
        try:
            tried(operation, served.test_headers)
        except Exception as error:
            wrong.append(f"{operation.label}: {str(error)[:2000]}")
    assert not wrong, "\n\n".join(wrong)
