"""Outages around the server: brokers and databases that restart, a disk that fills up or cannot be written, and two
servers where one is expected."""

from __future__ import annotations

import contextlib
import hashlib
import os
import resource
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import databases
import programs
import pytest
from invariants import check, settle
from killable_server import KillableServer
from mosquitto_process import Mosquitto, write_files
from patience import limit, until
from witnesses import SCENARIO, Fleet, Notes, accounts_of

from tidegate.simulate import images
from tidegate.simulate.scenario import parse

FLEET = parse(SCENARIO, "the witnesses").fleet
FULL = bool(os.environ.get("TIDEGATE_FULL"))
RESTARTS = 10 if FULL else 2
POSTGRESQL = pytest.mark.skipif(programs.find("initdb") is None, reason="Debian: postgresql is not installed")


@contextlib.contextmanager
def talking(server: KillableServer, port: int | None = None, count: int = 3) -> Iterator[tuple[Fleet, Notes]]:
    """Witnesses that talk to a server that runs; in the end nothing of theirs is left."""
    notes = Notes()
    with server.client() as api:
        accounts = accounts_of(api, count)
    fleet = Fleet(accounts, server.url, port or server.mqtt_port, images.running(FLEET, 1), notes)
    try:
        fleet.talking = True
        until("packs", lambda: len(notes.packs) == count)
        yield fleet, notes
    finally:
        fleet.stop()
        server.kill()


def more_packs(notes: Notes, count: int = 10) -> None:
    """Until so many more are acknowledged."""
    before = sum(map(len, notes.packs.values()))
    until("more packs", lambda: sum(map(len, notes.packs.values())) >= before + count, 60)


@pytest.mark.broker
def test_a_broker_that_is_restarted_loses_nothing(data: Path, tmp_path: Path, ring) -> None:
    """mosquitto, stopped as an init system does it, with the server there and with the server away."""
    folder = tmp_path / "mosquitto"
    write_files(folder, data)
    broker = Mosquitto(folder)
    port = broker.port
    arguments = ["--broker", f"mqtt://tidegate_server@127.0.0.1:{port}", "--mosquitto", str(folder)]
    server = KillableServer(data, "--trust", str(ring.trust), *arguments).start()
    try:
        with talking(server, port) as (fleet, notes):
            for number in range(RESTARTS):
                away = number % 2 == 1
                if away:  # what comes meanwhile waits in the broker's session, over its restart
                    server.kill()
                    more_packs(notes)
                broker.stop()
                broker = Mosquitto(folder, port)
                more_packs(notes)
                if away:
                    server.start()
            settle(server, fleet)
            check(server, fleet, notes)
    finally:
        broker.stop()


@pytest.mark.broker
@POSTGRESQL
def test_a_database_that_is_restarted_loses_nothing(data: Path, ring) -> None:
    with databases.restartable() as database:
        env = {"TIDEGATE_DATABASE_URL": database.url}
        server = KillableServer(data, "--trust", str(ring.trust), env=env).start()
        with talking(server) as (fleet, notes):
            for number in range(RESTARTS):
                database.stop("immediate" if number % 2 else "fast")
                with server.http() as http:
                    answer = until("an answer of 503", lambda: _unavailable(http), 60)
                    assert answer.headers["Retry-After"]
                time.sleep(1)
                database.start()
                more_packs(notes)
            settle(server, fleet)
            check(server, fleet, notes)


def _unavailable(http):
    answer = http.get("/api/v1/devices/witness-0")
    return answer if answer.status_code == 503 else None


def test_a_locked_database_loses_nothing(data: Path, ring) -> None:
    """Another process has SQLite's write lock for longer than the server's patience."""
    server = KillableServer(data, "--trust", str(ring.trust)).start()
    with talking(server) as (fleet, notes):
        other = sqlite3.connect(data / "tidegate.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        time.sleep(14)
        other.rollback()
        other.close()
        more_packs(notes)
        settle(server, fleet)
        check(server, fleet, notes)


def test_a_full_disk_loses_nothing_and_is_recovered_from(data: Path, ring) -> None:
    """No file may grow: what a full disk does to a server, without root."""
    server = KillableServer(data, "--trust", str(ring.trust)).start()
    with talking(server) as (fleet, notes):
        database = data / "tidegate.db"
        pid = server.process.pid
        most = max(path.stat().st_size for path in data.rglob("*") if path.is_file() and path.suffix != ".log")
        before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (database.stat().st_size, before[1]))
        assert most > 0
        with server.http() as http:
            answer = http.put("/api/v1/payloads/" + "0" * 64, content=b"x" * (most + 4096))
            assert answer.status_code in (422, 503, 507), answer.text
            time.sleep(3)
            assert server.process.poll() is None, "it goes on"
        resource.prlimit(pid, resource.RLIMIT_FSIZE, before)
        more_packs(notes)
        settle(server, fleet)
        check(server, fleet, notes)
        assert server.stop() == 0


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A tmpfs of 24 MB; the test is skipped where it cannot be mounted."""
    mount = folder / "small"
    mount.mkdir()
    command = [programs.require("mount"), "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(mount)]
    if subprocess.run(command, capture_output=True).returncode:
        pytest.skip("the right to mount a small disk is not there")
    try:
        yield mount
    finally:
        subprocess.run([programs.require("umount"), "-l", str(mount)], check=False)


@pytest.mark.soak
@pytest.mark.skipif(not FULL, reason="`make soak` fills a disk; test_a_full_disk_* does it by a limit")
def test_a_small_disk_that_fills_up(tmp_path: Path, ring) -> None:
    """Filled while devices talk, emptied again, and filled at a start."""
    with small_disk(tmp_path) as mount:
        server = KillableServer(mount / "data", "--trust", str(ring.trust))
        server.log = tmp_path / "server.log"
        server.start()
        with talking(server) as (fleet, notes):
            filler = mount / "filler"
            _fill(filler)
            with server.http() as http:
                body = os.urandom(200_000)
                refused = until("a refusal", lambda: _refused(http, body), 30)
                assert refused.json()["remedy"], refused.text
            time.sleep(5)
            assert server.process.poll() is None, "it goes on"
            filler.unlink()
            more_packs(notes)
            settle(server, fleet)
            check(server, fleet, notes)
            server.kill()
            _fill(filler)
            server.spawn()
            if not _comes_up(server):
                assert server.process.wait(limit(60)) == 1, "it says what is wrong"
            server.kill()
            filler.unlink()
            server.start()
            settle(server, fleet)
            check(server, fleet, notes)


def _refused(http, body: bytes):
    answer = http.put(f"/api/v1/payloads/{hashlib.sha256(body).hexdigest()}", content=body)
    return answer if answer.status_code in (503, 507) else None


def _comes_up(server: KillableServer) -> bool:
    end = time.monotonic() + limit(10)
    while time.monotonic() < end and server.process.poll() is None:
        if (server.data / "serve.json").exists():
            return True
        time.sleep(0.05)
    return False


def _fill(file: Path) -> None:
    with contextlib.suppress(OSError), file.open("ab", buffering=0) as stream:
        while True:
            stream.write(b"x" * 65536)
    with contextlib.suppress(OSError), file.open("ab", buffering=0) as stream:
        while True:
            stream.write(b"x" * 512)


def test_a_folder_that_cannot_be_written_is_refused_with_words(tmp_path: Path, ring) -> None:
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(small_disk(tmp_path)) if os.geteuid() == 0 else tmp_path  # root writes everywhere
        server = KillableServer(folder / "data", "--trust", str(ring.trust))
        server.log = tmp_path / "server.log"
        assert server.start().stop() == 0
        if os.geteuid() == 0:
            subprocess.run([programs.require("mount"), "-o", "remount,ro", str(folder)], check=True)
        else:
            for path in [server.data, *server.data.rglob("*")]:
                path.chmod(0o555 if path.is_dir() else 0o444)
        again = KillableServer(server.data)
        again.log = tmp_path / "again.log"
        again.spawn()
        assert again.process.wait(limit(60)) == 1
        said = again.log.read_text()
        assert "Traceback" not in said and f"the data folder {server.data} cannot be" in said, said


def test_two_servers_on_one_folder(data: Path, ring) -> None:
    server = KillableServer(data, "--trust", str(ring.trust)).start()
    with talking(server) as (fleet, notes):
        other = KillableServer(data, "--trust", str(ring.trust))
        other.log = data.with_name("other.log")
        state = (data / "serve.json").read_bytes()
        other.spawn()
        (data / "serve.json").write_bytes(state)
        assert other.process.wait(limit(60)) == 1
        said = other.log.read_text()
        assert "another server is running" in said and "--data" in said and "Traceback" not in said
        more_packs(notes)
        settle(server, fleet)
        check(server, fleet, notes)
