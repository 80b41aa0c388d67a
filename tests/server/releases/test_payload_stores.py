"""Payloads that several servers share: in a bucket that speaks S3 (moto's server, over HTTP), and in a folder."""

from __future__ import annotations

import functools
import hashlib
import http.server
import json
import os
import random
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import databases
import httpx
import pytest
import signed_releases as releases
from click.testing import CliRunner, Result
from object_store import BUCKET, ObjectStore
from patience import limit
from server_process import ServerProcess, document, eventually

from ota_server.config import Config
from ota_server.releases.payload_stores import open_store
from tidegate.cli import main
from tidegate.client.server import Server
from tidegate.errors import TidegateError

ROOT = Path(__file__).resolve().parents[3]
MICROPYTHON = ROOT / "build" / "unix" / "micropython"


@pytest.fixture(scope="module")
def bucket() -> Iterator[ObjectStore]:
    store = ObjectStore()
    yield store
    store.close()


@pytest.fixture(autouse=True)
def well(bucket: ObjectStore) -> None:
    bucket.mode = "pass"


def name(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def place(data: bytes) -> str:
    return f"{name(data)[:2]}/{name(data)}"


def put(server: ServerProcess, data: bytes) -> httpx.Response:
    return server.http.put(f"/api/v1/payloads/{name(data)}", content=data)


def fetch(server: ServerProcess, data: bytes, **headers: str) -> httpx.Response:
    return server.http.get(f"/p/{name(data)}", headers={"Authorization": "", **headers})


def beside(server: ServerProcess, data: Path) -> Path:
    """A folder for another server of the same fleet: it has the same secrets."""
    data.mkdir(mode=0o700)
    for secret in ("admin.token", "broker.password", "coap.secret"):
        if (server.data / secret).exists():
            shutil.copy(server.data / secret, data)
    return data


def tidegate(*arguments: object, env: dict[str, str] | None = None) -> Result:
    """In this process: starts of Python take long."""
    found = CliRunner().invoke(main, [*map(str, arguments)], env=env)
    assert "Traceback" not in found.stderr, found.stderr
    return found


def test_two_servers_share_a_bucket(start, ring, tmp_path, bucket):
    with databases.postgresql() as url:
        env = {**bucket.env, "TIDEGATE_DATABASE_URL": url}
        where = ("--payloads", f"s3://{BUCKET}/two")
        one = start(*where, env=env)
        other = start(*where, env=env, data=beside(one, tmp_path / "other"))
        release = releases.make(ring.release, "1.1.0", 2)
        assert one.publish(release).status_code == 201
        newer = releases.make(ring.release, "1.2.0", 3, bases=tuple(release["payloads"].values()))
        published = other.publish(newer)
        assert published.status_code == 201 and published.json()["warnings"] == [], "its base is read from the bucket"
        everything = {**release["payloads"], **newer["payloads"]}
        assert {key.rpartition("/")[2] for key in bucket.keys("two/")} == set(everything)
        for server in (one, other):
            for data in everything.values():
                assert fetch(server, data).content == data
                part = fetch(server, data, Range="bytes=5-19")
                assert part.status_code == 206 and part.content == data[5:20]
        checked = json.loads(tidegate("server", "check", "--data", one.data, *where, "--json", env=env).stdout)
        assert checked["problems"] == [] and checked["looked_at"]["payloads"] == len(everything)
        saved = tmp_path / "saved.tar"
        done = tidegate("server", "backup", "--data", one.data, *where, saved, "--json", env=env)
        assert json.loads(done.stdout)["payloads"] == len(everything), done.stderr


def test_a_download_that_was_cut_goes_on(start, bucket):
    server = start("--payloads", f"s3://{BUCKET}", env=bucket.env)
    data = random.Random(1).randbytes(60_000)
    assert put(server, data).status_code == 201 and put(server, data).status_code == 200
    shutil.rmtree(server.data / "payload-cache")
    (server.data / "payload-cache").mkdir()
    bucket.mode = "cut"
    answer = fetch(server, data)
    assert answer.status_code == 503 and int(answer.headers["retry-after"]) > 0, "half of one is no payload"
    assert not [one for one in (server.data / "payload-cache").rglob("*") if one.is_file()]
    bucket.mode = "pass"
    eventually(lambda: fetch(server, data).status_code == 200)
    got = fetch(server, data, Range="bytes=0-19999").content
    got += fetch(server, data, Range="bytes=20000-").content
    assert got == data
    assert fetch(server, data, Range="bytes=60000-").status_code == 416
    assert fetch(server, b"never stored").status_code == 404


def test_a_store_that_is_away_or_slow(start, ring, bucket):
    server = start("--payloads", f"s3://{BUCKET}/away", env=bucket.env)
    release = releases.make(ring.release, "1.1.0", 2)
    (data,) = release["payloads"].values()
    assert put(server, data).status_code == 201
    lost = os.urandom(1000)
    for mode in ("away", "stall"):
        bucket.mode = mode
        assert fetch(server, data).content == data, "what is here is served on"
        refused = publish(server, release)
        assert refused.status_code == 503 and refused.json()["type"].endswith("/payload-store-away"), refused.text
        assert int(refused.headers["retry-after"]) > 0
        assert server.api("GET", "/releases")["releases"] == []
        with ThreadPoolExecutor(12) as pool:
            answers = [pool.submit(put, server, lost) for _ in range(12)]
            began = time.monotonic()
            server.api("GET", "/devices")
            assert time.monotonic() - began < limit(5), "the API is not held up"
            assert {answer.result().status_code for answer in answers} == {503}
        bucket.mode = "pass"
        eventually(lambda: fetch(server, b"never stored").status_code == 404)
    assert eventually(lambda: (made := publish(server, release)).status_code == 201 and made)
    assert len(bucket.keys("away/")) == 1


def publish(server: ServerProcess, release: dict) -> httpx.Response:
    """Without its payloads, which are there."""
    return server.http.post("/api/v1/releases", json=document(release))


def test_a_store_that_lies_is_noticed(start, bucket):
    where = ("--payloads", f"s3://{BUCKET}/lies")
    server = start(*where, env=bucket.env)
    data = os.urandom(5000)
    put(server, data)
    bucket.replace(f"lies/{place(data)}", data[:-1] + b"?" if data[-1:] != b"?" else data[:-1] + b"!")
    shutil.rmtree(server.data / "payload-cache")
    (server.data / "payload-cache").mkdir()
    answer = fetch(server, data)
    assert answer.status_code == 503 and answer.json()["type"].endswith("/payload-damaged")
    found = tidegate("server", "check", "--data", server.data, *where, env=bucket.env)
    assert found.exit_code == 1 and f"s3://{BUCKET}/lies/{place(data)}" in found.stderr
    saved = server.data.with_suffix(".tar")
    refused = tidegate("server", "backup", "--data", server.data, *where, saved, env=bucket.env)
    assert refused.exit_code == 1 and "no backup was made" in refused.stderr and not saved.exists()
    assert put(server, data).status_code == 200, "uploading it again puts it right"
    assert fetch(server, data).content == data
    assert tidegate("server", "check", "--data", server.data, *where, env=bucket.env).exit_code == 0


@pytest.mark.skipif(not MICROPYTHON.exists(), reason="needs the unix port: make -C boards/unix")
def test_boards_follow_where_they_are_sent(start, tmp_path, bucket):
    shared = tmp_path / "shared"
    shared.mkdir()
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(shared))
    cdn = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=cdn.serve_forever, daemon=True).start()
    elsewhere = f"http://127.0.0.1:{cdn.server_address[1]}"
    data = random.Random(2).randbytes(30_000)
    signed = start(
        "--payloads", f"s3://{BUCKET}/to", "--payload-redirect", "signed", env=bucket.env, data=tmp_path / "a"
    )
    folder = start("--payloads", str(shared), "--payload-redirect", elsewhere, data=tmp_path / "b")
    try:
        for server, offset in ((signed, 0), (signed, 20_000), (folder, 0)):
            put(server, data)
            sent = fetch(server, data)
            assert sent.status_code == 302 and len(sent.headers["location"]) <= 512, sent.headers
            assert fetch_as_board(server.url, f"/p/{name(data)}", offset) == f"30000 {30_000 - offset} " + name(
                data[offset:]
            )
        query = urlsplit(fetch(signed, data).headers["location"]).query
        assert "X-Amz-Expires=900" in query and "X-Amz-Signature=" in query
        assert fetch(signed, b"never stored").status_code == 404
        assert Server(signed.url, signed.token).payload(name(data)) == data, "the command line follows, too"
    finally:
        cdn.shutdown()
    far = start("--payloads", str(shared), "--payload-redirect", "https://cdn.example/" + "x" * 10, data=tmp_path / "c")
    assert fetch(far, data).content == data, "a board that came by http does not follow to https: it is served here"


def fetch_as_board(url: str, path: str, offset: int) -> str:
    parts = urlsplit(url)
    script = [str(MICROPYTHON), str(ROOT / "tests/server/support/board_fetch.py"), parts.hostname, str(parts.port)]
    environment = {**os.environ, "MICROPYPATH": f".frozen:{ROOT / 'firmware' / 'lib'}"}
    return subprocess.run(
        [*script, path, str(offset)], capture_output=True, text=True, env=environment, timeout=limit(60), check=True
    ).stdout.strip()


def test_payloads_move_to_where_servers_share_them(start, tmp_path, bucket):
    first = start()
    data = [os.urandom(3000), os.urandom(4000)]
    for one in data:
        put(first, one)
    shared = tmp_path / "shared"
    shared.mkdir()
    (shared / ".part-of-another-server").write_bytes(b"half")
    copied = tidegate("server", "copy-payloads", "--data", first.data, "--to", shared, "--json")
    assert json.loads(copied.stdout) == {"copied": 2, "there": 0}, copied.stderr
    again = tidegate("server", "copy-payloads", "--data", first.data, "--to", shared, "--json")
    assert json.loads(again.stdout) == {"copied": 0, "there": 2}
    to = f"s3://{BUCKET}/moved"
    up = ("server", "copy-payloads", "--data", first.data, "--payloads", shared, "--to", to)
    assert json.loads(tidegate(*up, "--json", env=bucket.env).stdout)["copied"] == 2
    bucket.mode = "away"
    refused = tidegate(*up, env=bucket.env)
    assert refused.exit_code == 1 and "does not answer" in refused.stderr
    (first.data / "payloads" / place(data[0])).write_bytes(b"damaged")
    other = tidegate("server", "copy-payloads", "--data", first.data, "--to", tmp_path / "new")
    assert other.exit_code == 1 and name(data[0]) in other.stderr
    assert first.stop() == 0
    second = start("--payloads", str(shared), data=first.data)
    assert [fetch(second, one).content for one in data] == data
    assert (shared / ".part-of-another-server").exists(), "another server may still write it"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"payload_store": "s3://nothing"}, "NoSuchBucket"),
        ({"payload_store": "s3://"}, "is not the address of a bucket"),
        ({"payload_store": "ftp://x"}, "no store of payloads"),
        ({"payload_redirect": "signed"}, "--payload-redirect"),
    ],
)
def test_what_cannot_be_a_store_is_refused(tmp_path, bucket, monkeypatch, settings, said):
    for variable, value in bucket.env.items():
        monkeypatch.setenv(variable, value)
    with pytest.raises(TidegateError) as refused:
        open_store(Config(tmp_path / "data", **settings)).check()
    assert said in refused.value.message and refused.value.remedy


def test_a_server_says_what_its_bucket_needs(tmp_path, bucket):
    (tmp_path / "boto3.py").write_text("raise ImportError\n")
    nobody = {name: value for name, value in bucket.env.items() if "KEY" not in name}
    home = {"HOME": str(tmp_path), "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent"}
    ports = ["--http", "127.0.0.1:0", "--mqtt", "127.0.0.1:0"]
    command = [sys.executable, "-m", "ota_server", "serve", "--data", str(tmp_path / "data"), *ports]
    for env, said in (
        ({"PYTHONPATH": str(tmp_path)}, "pip install 'tidegate[s3]'"),
        ({**nobody, **home}, "AWS_ACCESS_KEY_ID"),
    ):
        done = subprocess.run(
            [*command, "--payloads", f"s3://{BUCKET}"],
            capture_output=True,
            text=True,
            env={**os.environ, **env},
            timeout=limit(90),
        )
        assert done.returncode == 1 and said in done.stderr and "Traceback" not in done.stderr, done
    for odd in ("cdn.example", "http://["):
        assert "is not an address" in tidegate("serve", "--payload-redirect", odd).stderr
