"""Payloads: stored whole or not at all, served with Range and ETag."""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import programs
import pytest
from server_process import eventually


def name(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def put(server, data: bytes, digest: str | None = None, **kwargs):
    return server.http.put(f"/api/v1/payloads/{digest or name(data)}", content=data, **kwargs)


def leftovers(server) -> list[Path]:
    return list((server.data / "payloads").rglob(".part-*"))


def test_what_is_stored_is_served(shared):
    data = os.urandom(100_000)
    assert put(shared, data).status_code == 201
    assert put(shared, data).status_code == 200, "again is harmless"
    answer = shared.http.get(f"/p/{name(data)}", headers={"Authorization": ""})
    assert answer.content == data and answer.headers["etag"] == f'"{name(data)}"'
    assert "immutable" in answer.headers["cache-control"] and answer.headers["accept-ranges"] == "bytes"
    assert len("".join(f"{k}: {v}\r\n" for k, v in answer.headers.items())) < 512, "devices have small buffers"


def test_a_broken_download_goes_on_where_it_stopped(shared):
    data = os.urandom(5000)
    put(shared, data)
    path, got = f"/p/{name(data)}", b""
    while len(got) < len(data):
        part = shared.http.get(
            path, headers={"Range": f"bytes={len(got)}-{len(got) + 1699}", "If-Range": f'"{name(data)}"'}
        )
        assert part.status_code == 206
        assert part.headers["content-range"] == f"bytes {len(got)}-{len(got) + len(part.content) - 1}/5000"
        got += part.content
    assert got == data
    assert shared.http.get(path, headers={"Range": "bytes=5000-"}).status_code == 416
    assert shared.http.get(path, headers={"Range": "bytes=0-1", "If-Range": '"other"'}).content == data
    assert shared.http.get(path, headers={"If-None-Match": f'"{name(data)}"'}).status_code == 304
    assert shared.http.head(path).headers["content-length"] == "5000"
    assert shared.http.get(path, headers={"Range": "bytes=-10"}).content == data[-10:]


@pytest.mark.parametrize(
    "path", ["/p/" + "0" * 64, "/p/xyz", "/p/" + "A" * 64, "/p/..%2f..%2fadmin.token", "/p/../admin.token"]
)
def test_what_is_not_there(shared, path):
    answer = shared.http.get(path)
    assert answer.status_code == 404 and answer.json()["remedy"]


def test_a_wrong_digest_leaves_nothing(shared):
    wrong = name(b"something else")
    answer = put(shared, b"this", wrong)
    assert answer.status_code == 422 and name(b"this") in answer.json()["detail"] and wrong in answer.json()["detail"]
    assert shared.http.get(f"/p/{wrong}").status_code == 404 and leftovers(shared) == []
    assert put(shared, b"").status_code == 422
    assert put(shared, b"x", "zz").status_code == 404


def test_a_truncated_upload_leaves_nothing(shared):
    data = os.urandom(50_000)
    host, port = shared.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as sock:
        sock.sendall(
            f"PUT /api/v1/payloads/{name(data)} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {shared.token}\r\n"
            f"Content-Length: {len(data)}\r\n\r\n".encode()
            + data[:20_000]
        )
        time.sleep(0.2)
    eventually(lambda: leftovers(shared) == [])
    assert shared.http.get(f"/p/{name(data)}").status_code == 404
    assert put(shared, data).status_code == 201


def test_too_large(shared):
    answer = put(shared, bytes(4 * 2**20 + 1))
    assert answer.status_code == 413 and answer.headers["content-type"] == "application/problem+json"
    chunked = shared.http.put(f"/api/v1/payloads/{'0' * 64}", content=(bytes(1 << 16) for _ in range(66)))
    assert chunked.status_code == 413 and leftovers(shared) == []


def test_many_uploads_of_one_payload_at_once(shared):
    data = os.urandom(200_000)
    with ThreadPoolExecutor(8) as pool:
        codes = list(pool.map(lambda _: put(shared, data).status_code, range(16)))
    assert set(codes) <= {200, 201} and shared.http.get(f"/p/{name(data)}").content == data
    stored = [e for e in shared.api("GET", "/audit")["entries"] if e["subject"] == name(data)]
    assert len(stored) == 1 and leftovers(shared) == []


def check_full_disk(server, size: int) -> None:
    """Uploads until there is no room, then shows that nothing was lost and that there is room again after a cleanup."""
    stored = []
    for _ in range(64):
        data = os.urandom(size)
        answer = put(server, data)
        if answer.status_code != 201:
            break
        stored.append(data)
    assert answer.status_code == 507, answer.text
    assert answer.json()["type"].endswith("/storage-full") and "Free space" in answer.json()["remedy"]
    assert leftovers(server) == [] and server.http.get(f"/p/{name(data)}").status_code == 404
    for kept in stored:
        assert server.http.get(f"/p/{name(kept)}").content == kept
    assert server.http.get("/healthz").json() == {"ok": True}


def test_a_file_size_limit(start):
    """RLIMIT_FSIZE gives the write error of a full disk on any machine: the server may write files of 1.5 MiB."""
    limit = (programs.require("prlimit"), f"--fsize={1536 * 1024}")
    server = start(prefix=limit)
    answer = put(server, os.urandom(2 << 20))
    assert answer.status_code == 507, answer.text
    assert leftovers(server) == [] and put(server, b"small").status_code == 201


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 4 MiB."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount")
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"cannot mount here: {mounted.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk(start, small_disk):
    server = start(data=small_disk / "data")
    check_full_disk(server, 700_000)
    # Fill the rest, so that the database has no room either: then its answer is the same, and all reads go on.
    with contextlib.suppress(OSError), (small_disk / "ballast").open("wb", buffering=0) as ballast:
        while ballast.write(bytes(4096)):
            pass
    codes = {
        server.http.post("/api/v1/devices", json={"id": f"gw-{i}", "board": "unix", "product": "p"}).status_code
        for i in range(40)
    }
    assert codes <= {201, 507} and 507 in codes, codes
    known = len(server.api("GET", "/devices", params={"limit": 100})["devices"])
    (small_disk / "ballast").unlink(missing_ok=True)
    for payload in list((server.data / "payloads").glob("*/*"))[:2]:
        payload.unlink()
    server.register("gw-after")
    assert len(server.api("GET", "/devices", params={"limit": 100})["devices"]) == known + 1
    assert server.api("GET", "/audit")["whole"] is True
