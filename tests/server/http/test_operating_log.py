"""What operators see: a log of JSON, failed logins in it, 429 for floods, and a database that is away."""

from __future__ import annotations

import json
import socket
import struct
import time
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import databases
import httpx
import pytest
import sqlalchemy as sa
from patience import limit
from server_process import ServerProcess, eventually


def lines(server: ServerProcess) -> list[dict]:
    return [json.loads(line) for line in server.log.read_text().splitlines()]


def test_each_line_is_json_with_what_it_is_about(start):
    server = start("--log", "json", "--verbose")
    server.register("gw-1")
    answer = server.http.get("/api/v1/devices/gw-1")
    number = answer.headers["Tidegate-Request"]
    line = eventually(lambda: next((one for one in lines(server) if one.get("request") == number), None))
    expected = {"device": "gw-1", "method": "GET", "path": "/api/v1/devices/gw-1", "status": 200, "peer": "127.0.0.1"}
    assert line.items() >= expected.items() and line["actor"].startswith("token:1") and line["level"] == "INFO"
    assert server.http.get("/api/v1/devices/gw-1", headers={"Tidegate-Request": number}).headers[
        "Tidegate-Request"
    ] not in (number, ""), "nobody chooses another's"
    evil = '/api/v1/devices/x"}%0a{"level":"FORGED'
    server.http.get(evil, headers={"Authorization": "Bearer tg_wrong"})
    eventually(lambda: any(one.get("status") == 401 for one in lines(server)))
    assert "FORGED" in server.log.read_text() and all(one["level"] != "FORGED" for one in lines(server))
    assert server.log.read_bytes().decode().replace("\n", "").isprintable()
    assert "Tidegate-Request" not in server.http.get(f"/p/{'0' * 64}").headers


@pytest.mark.parametrize("form", ["json", "text"])
def test_failed_logins_are_logged_without_being_asked_for(start, form):
    server = start("--log", form)
    for _ in range(20):
        assert httpx.get(f"{server.url}/api/v1/devices", timeout=limit(30)).status_code == 401
    told = eventually(lambda: server.log.read_text().count("no valid token"))
    assert 1 <= told <= 7, "not a line for each"

    def text(value: bytes) -> bytes:
        return struct.pack(">H", len(value)) + value

    with socket.create_connection(("127.0.0.1", server.mqtt_port), limit(30)) as sock:
        hello = text(b"MQTT") + b"\x04\xc2\0\x3c" + text(b"gate-1") + text(b"gate-1") + text(b"wrong")
        sock.sendall(b"\x10" + bytes([len(hello)]) + hello)
        assert sock.recv(4)[3] == 4
    eventually(lambda: "wrong user or password" in server.log.read_text())
    if form == "json":
        assert {one.get("peer") for one in lines(server) if one["level"] == "WARNING"} == {"127.0.0.1"}


def test_floods_are_answered_429_and_others_are_served(start):
    server = start()

    def flood(headers: dict[str, str], most: int) -> httpx.Response:
        way = httpx.HTTPTransport(local_address="127.0.0.7")
        with httpx.Client(base_url=server.url, transport=way, timeout=limit(30), headers=headers) as client:
            for _ in range(most):
                answer = client.get("/api/v1/openapi.json" if not headers else "/api/v1/devices")
                if answer.status_code == 429:
                    return answer
        raise AssertionError(f"{most} requests were let in")

    refused = flood({"Authorization": "Bearer tg_wrong"}, 3000)
    assert refused.headers["Retry-After"] and refused.json()["type"] == "about:tidegate/too-many-requests"
    assert server.http.get("/api/v1/devices").status_code == 200, "another address"
    way = httpx.HTTPTransport(local_address="127.0.0.7")
    with httpx.Client(base_url=server.url, transport=way, timeout=limit(30)) as client:
        assert client.get(f"/p/{'0' * 64}").status_code == 404, "payloads are not counted"
        assert client.get("/healthz").status_code == 200
    time.sleep(1)
    assert server.http.get("/api/v1/devices").status_code == 200


def test_without_its_database_it_says_so_shortly_and_comes_back(start):
    with databases.postgresql() as url:
        server = start(env={"TIDEGATE_DATABASE_URL": url})
        assert server.http.get("/readyz").json() == {"ready": True}
        place = Path(parse_qs(urlsplit(url).query)["host"][0]) / ".s.PGSQL.5432"
        admin = sa.create_engine(url, isolation_level="AUTOCOMMIT")
        with admin.connect() as connection:
            place.rename(place.with_name("away"))  # nobody finds it any more
            others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
            eventually(lambda: not connection.execute(sa.text(others + " AND usename = 'tidegate'")).all() or None)
            for _ in range(30):
                for path in ("/readyz", "/api/v1/devices"):
                    answer = server.http.get(path)
                    assert answer.status_code == 503 and answer.headers["Retry-After"], answer.text
                assert server.http.get("/healthz").status_code == 200
            place.with_name("away").rename(place)
        admin.dispose()
        eventually(lambda: server.http.get("/readyz").status_code == 200)
        assert server.http.get("/api/v1/devices").status_code == 200
        text = server.log.read_text()
        assert "Traceback" not in text and text.count("\n") < 40, text
        server.stop()
