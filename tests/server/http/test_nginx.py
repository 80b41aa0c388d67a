"""Debian's nginx in front, as packaging/nginx has it: who is who, ranges, large bodies, slow clients and floods."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import programs
import pytest
from patience import limit
from ports import PortTaken, on_free_port, says_taken
from server_process import ServerProcess, eventually

from tidegate.trust import certificates

ROOT = Path(__file__).resolve().parents[3]
PAYLOAD = os.urandom(3 << 20)
DIGEST = hashlib.sha256(PAYLOAD).hexdigest()


class Behind:
    """A server and an nginx in front of it, with TLS."""

    def __init__(self, folder: Path) -> None:
        # nginx may change its user, who must be able to come here.
        self.server = ServerProcess(folder / "data", "--trusted-proxy", "127.0.0.1", "--log", "json", "--verbose")
        certificates.issue_server(certificates.authority("fleet"), ["localhost", "127.0.0.1"]).save(
            folder / "server.crt", folder / "server.key"
        )
        self.folder = folder
        self.process, self.port = on_free_port(self._started)
        self.url = f"https://127.0.0.1:{self.port}"

    def _started(self, port: int) -> tuple[subprocess.Popen[bytes], int]:
        folder = self.folder
        site = (ROOT / "packaging/nginx/tidegate.conf").read_text()
        for old, new in (
            ("listen [::]:443 ssl http2;", ""),
            ("listen 443", f"listen 127.0.0.1:{port}"),
            ("127.0.0.1:8080", self.server.url.removeprefix("http://")),
            ("/etc/tidegate/tls", str(folder)),
        ):
            assert old in site
            site = site.replace(old, new)
        places = "".join(
            f"{name}_temp_path {folder}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        (folder / "nginx.conf").write_text(
            f"daemon off; pid {folder}/pid; error_log {folder}/error.log; worker_processes 1;"
            f"events {{ worker_connections 1024; }} http {{ access_log off; {places} {site} }}"
        )
        command = [programs.require("nginx"), "-c", str(folder / "nginx.conf"), "-e", str(folder / "error.log")]
        process = subprocess.Popen(command)

        def listens() -> bool:
            if process.poll() is not None:
                said = (folder / "error.log").read_text()
                raise PortTaken(said) if says_taken(said) else AssertionError(f"nginx has ended: {said}")
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", port)) == 0

        eventually(listens)
        return process, port

    def client(self, source: str = "127.0.0.1", **headers: str) -> httpx.Client:
        headers = {"Authorization": f"Bearer {self.server.token}", **headers}
        way = httpx.HTTPTransport(local_address=source, verify=False)
        return httpx.Client(base_url=self.url, headers=headers, transport=way, timeout=limit(30))

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(limit(20))
        self.server.stop()


@pytest.fixture(scope="module")
def behind() -> Iterator[Behind]:
    folder = Path(tempfile.mkdtemp(prefix="tidegate-nginx-"))
    folder.chmod(0o755)
    found = Behind(folder)
    yield found
    found.stop()
    shutil.rmtree(folder)


def peers(behind: Behind) -> set[str]:
    lines = [json.loads(line) for line in behind.server.log.read_text().splitlines()]
    return {line["peer"] for line in lines if "peer" in line}


def test_the_real_peer_counts_and_what_it_claims_does_not(behind: Behind) -> None:
    with behind.client("127.0.0.9", **{"X-Forwarded-For": "203.0.113.5", "X-Forwarded-Proto": "http"}) as client:
        answer = client.get("/api/v1/devices")
        assert answer.status_code == 200 and answer.headers["Tidegate-Request"]
    assert "127.0.0.9" in peers(behind) and "203.0.113.5" not in peers(behind)


def test_large_bodies_and_ranges(behind: Behind) -> None:
    with behind.client() as client:
        assert client.put(f"/api/v1/payloads/{DIGEST}", content=PAYLOAD).status_code == 201
        assert client.get(f"/p/{DIGEST}").content == PAYLOAD
        part = client.get(f"/p/{DIGEST}", headers={"Range": "bytes=1000000-"})
        assert part.status_code == 206 and part.content == PAYLOAD[1_000_000:]
        assert part.headers["Content-Range"] == f"bytes 1000000-{len(PAYLOAD) - 1}/{len(PAYLOAD)}"
        assert client.put(f"/api/v1/payloads/{'0' * 64}", content=bytes(6 << 20)).status_code == 413


def test_a_flood_of_one_address_is_its_own_affair(behind: Behind) -> None:
    with behind.client("127.0.0.8") as flooding, behind.client("127.0.0.10") as other:
        codes = []
        for _ in range(1500):
            codes.append(flooding.get("/healthz").status_code)
            if codes[-1] == 429:
                break
        assert codes[-1] == 429, f"{len(codes)} requests were let in"
        assert other.get("/api/v1/devices").status_code == 200


def test_wrong_tokens_are_counted_by_the_peer_behind_the_proxy(behind: Behind) -> None:
    with behind.client("127.0.0.11", Authorization="Bearer tg_wrong") as guessing, behind.client("127.0.0.12") as other:
        for _ in range(1000):
            answer = guessing.get("/api/v1/devices")
            if answer.status_code == 429:
                break
        assert answer.status_code == 429 and re.search("too", answer.text, re.IGNORECASE)
        assert other.get("/api/v1/devices").status_code == 200


def test_slow_clients_hold_up_nobody(behind: Behind) -> None:
    open_ = []
    try:
        for number in range(200):
            one = socket.create_connection(("127.0.0.1", behind.port), limit(20), source_address=("127.0.0.13", 0))
            one.sendall(b"\x16\x03\x01" if number % 2 else b"")
            open_.append(one)
        with behind.client("127.0.0.14") as other:
            assert other.get("/api/v1/devices").status_code == 200
    finally:
        for one in open_:
            one.close()
