"""Conditions and ranges of payloads, as RFC 9110 says, for whatever clients, caches and proxies send."""

from __future__ import annotations

import hashlib

import httpx
import pytest

BODY = bytes(range(250)) * 20
NAME = hashlib.sha256(BODY).hexdigest()
TAG, OTHER, N = f'"{NAME}"', '"other"', len(BODY)
WEAK = f"W/{TAG}"


@pytest.fixture(scope="module")
def url(shared) -> str:
    assert shared.http.put(f"/api/v1/payloads/{NAME}", content=BODY).status_code in (200, 201)
    return f"{shared.url}/p/{NAME}"


@pytest.mark.parametrize(
    ("fields", "part"),
    [
        ({"Range": "bytes=0-9"}, (0, 10)),
        ({"Range": "BYTES=0-9"}, (0, 10)),
        ({"Range": "bytes=4990-"}, (4990, N)),
        ({"Range": "bytes=4990-9999999999999999999999999999999"}, (4990, N)),
        ({"Range": "bytes=" + "0" * 5000 + "7-8"}, (7, 9)),
        ({"Range": "bytes=-10"}, (N - 10, N)),
        ({"Range": "bytes=-9999"}, (0, N)),
        ({"Range": "bytes=0-"}, (0, N)),
        ({"Range": "bytes=, 5-6 ,"}, (5, 7)),
        ({"Range": "bytes=5-6,9000-"}, (5, 7)),
        ({"Range": "bytes=100-", "If-Range": TAG}, (100, N)),
        ({"Range": "bytes=5-6", "If-Match": TAG}, (5, 7)),
        ({"Range": "bytes=5-6", "If-Match": "*"}, (5, 7)),
        ({"Range": "bytes=5-6", "If-None-Match": OTHER}, (5, 7)),
        ({"Range": "bytes=5-6", "If-Unmodified-Since": "Sun, 06 Nov 1994 08:49:37 GMT"}, (5, 7)),
    ],
)
def test_a_part(url, fields, part):
    answer = httpx.get(url, headers=fields, timeout=60)
    assert answer.status_code == 206 and answer.content == BODY[slice(*part)]
    assert answer.headers["content-range"] == f"bytes {part[0]}-{part[1] - 1}/{N}"
    assert answer.headers["etag"] == TAG and answer.headers["content-length"] == str(part[1] - part[0])


@pytest.mark.parametrize(
    "fields",
    [
        {"Range": "items=0-5"},
        {"Range": "bytes"},
        {"Range": "bytes="},
        {"Range": "bytes=,"},
        {"Range": "bytes=-"},
        {"Range": "bytes=abc"},
        {"Range": "bytes=10-5"},
        {"Range": "bytes=1-2-3"},
        {"Range": "bytes=+1-2"},
        {"Range": "bytes=1 - 2"},
        {"Range": "bytes=0x1-2"},
        {"Range": "bytes=0-1,x"},
        {"Range": "bytes=0-1, bytes=2-3"},
        {"Range": "bytes=0-1,5-6"},
        {"Range": "bytes=5-6,0-1"},
        {"Range": "bytes=" + ",".join("0-" for _ in range(2000))},
        {"Range": "bytes=100-", "If-Range": WEAK},
        {"Range": "bytes=100-", "If-Range": OTHER},
        {"Range": "bytes=100-", "If-Range": NAME},
        {"Range": "bytes=100-", "If-Range": "*"},
        {"Range": "bytes=100-", "If-Range": "Sun, 06 Nov 2044 08:49:37 GMT"},
        {"Range": "bytes=9000-", "If-Range": OTHER},
        {"If-Range": OTHER},
        {"If-None-Match": OTHER},
        {"If-Match": TAG},
        {"If-Match": f"{OTHER}, {TAG}"},
        {"If-Match": "*"},
        {"If-Modified-Since": "Sun, 06 Nov 2044 08:49:37 GMT"},
        {"If-Unmodified-Since": "Sun, 06 Nov 1994 08:49:37 GMT"},
        {"Via": "1.1 cache", "X-Forwarded-For": "::1", "Forwarded": "for=x", "Cache-Control": "max-age=0"},
    ],
    ids=str,
)
def test_the_whole(url, fields):
    answer = httpx.get(url, headers=fields, timeout=60)
    assert answer.status_code == 200 and answer.content == BODY
    assert "content-range" not in answer.headers and answer.headers["accept-ranges"] == "bytes"


@pytest.mark.parametrize("field", ["bytes=5000-", "bytes=-0", "bytes=5000-,6000-7000", "bytes=" + "9" * 5000 + "-"])
def test_no_part(url, field):
    answer = httpx.get(url, headers={"Range": field}, timeout=60)
    assert answer.status_code == 416 and answer.headers["content-range"] == f"bytes */{N}"


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("field", [TAG, WEAK, "*", f"{OTHER}, {WEAK}"])
def test_not_modified(url, method, field):
    fields = {"If-None-Match": field, "Range": "bytes=0-9", "If-Range": TAG}
    answer = httpx.request(method, url, headers=fields, timeout=60)
    assert answer.status_code == 304 and answer.content == b"" and answer.headers["etag"] == TAG
    assert "immutable" in answer.headers["cache-control"]


@pytest.mark.parametrize("field", [OTHER, WEAK])
def test_a_precondition_that_fails(url, field):
    for more in ({}, {"Range": "bytes=0-9"}, {"If-None-Match": TAG}):
        assert httpx.get(url, headers={"If-Match": field, **more}, timeout=60).status_code == 412


def test_head_is_get_without_its_body(url):
    whole, head = httpx.get(url, timeout=60), httpx.head(url, headers={"Range": "bytes=0-9"}, timeout=60)
    assert head.status_code == 200 and head.content == b"" and head.headers["content-length"] == str(N)
    assert {name: value for name, value in head.headers.items() if name != "date"} == {
        name: value for name, value in whole.headers.items() if name != "date"
    }


def test_methods_that_are_not_there(url, shared):
    for method in ("POST", "PUT", "DELETE", "PATCH", "BREW"):
        answer = httpx.request(method, url, timeout=60)
        assert answer.status_code == 405 and "GET" in answer.headers["allow"]
    answer = shared.http.put(f"/api/v1/payloads/{NAME}", content=b"x", headers={"Content-Range": "bytes 0-0/5"})
    assert answer.status_code == 400 and answer.json()["type"].endswith("/partial")


def test_other_pages_ignore_ranges(shared):
    for path in ("/", "/static/page.js", "/healthz"):
        for field in ("items=1-2", "bytes=abc", "bytes=99999999-"):
            answer = httpx.get(shared.url + path, headers={"Range": field}, timeout=60)
            assert answer.status_code in (200, 303, 404), (path, field)  # 303: the page, to who is not signed in
