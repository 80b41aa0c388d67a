"""Backups of a server that is at work: whole, checked, restored, on SQLite and on PostgreSQL."""

from __future__ import annotations

import io
import json
import shutil
import signal
import sqlite3
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import databases
import pytest
import signed_releases as releases
from click.testing import CliRunner, Result
from patience import limit
from server_process import ServerProcess, eventually

from tidegate.cli import main

TIDEGATE = [sys.executable, "-m", "ota_server"]


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    with databases.postgresql() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def places(request: pytest.FixtureRequest) -> Callable[[], dict[str, str]]:
    """Makes the environment of a server with a database of its own."""
    if request.param == "sqlite":
        return dict
    return lambda: {"TIDEGATE_DATABASE_URL": databases.new(request.getfixturevalue("cluster"))}


def run(*arguments: object, env: dict[str, str] | None = None) -> Result:
    """`tidegate server`, in this process: fifty starts of Python would take minutes."""
    return CliRunner().invoke(main, ["server", *map(str, arguments)], env=env)


def done(*arguments: object, env: dict[str, str] | None = None) -> dict:
    found = run(*arguments, "--json", env=env)
    assert found.exit_code == 0, found.stdout + found.stderr
    return json.loads(found.stdout)


def refused(*arguments: object, env: dict[str, str] | None = None) -> str:
    found = run(*arguments, env=env)
    assert found.exit_code == 1 and "Traceback" not in found.stderr, found
    return found.stderr + found.stdout


def say_packs(server: ServerProcess, device, numbers: range) -> None:
    for number in numbers:
        device.say("tele/env", [{-2: "urn:dev:org:tidegate:gw-1:", -257: number, 0: "t", 2: number}])


def test_a_server_at_work_is_saved_and_comes_back(start, ring, tmp_path, places):
    env = places()
    server = start(env=env)
    device_password = server.register("gw-1")
    device = server.device("gw-1", device_password)
    device.born("1.0.0", 1)
    release = releases.make(ring.release, "1.1.0", 2)
    assert server.publish(release).status_code == 201
    assert device.wait_heard("offer") == [release["envelopes"]["unix"]]
    say_packs(server, device, range(20))
    eventually(lambda: server.api("GET", "/devices/gw-1/telemetry/last")["streams"])
    stop = threading.Event()

    def work() -> None:
        for number in range(10**6):
            if stop.is_set():
                return
            server.register(f"new-{number}")
            time.sleep(0.05)

    worker = threading.Thread(target=work)
    worker.start()
    try:
        made = done("backup", "--data", server.data, tmp_path / "copy.tar", env=env)
    finally:
        stop.set()
        worker.join()
    assert made["payloads"] == len(release["payloads"]) and (tmp_path / "copy.tar").stat().st_mode & 0o777 == 0o600
    assert [one.name for one in tmp_path.glob(".tidegate-backup-*")] == []
    assert done("check", tmp_path / "copy.tar")["problems"] == []
    assert done("check", "--data", server.data, env=env)["problems"] == []
    server.register("after-the-backup")
    password = (server.data / "coap.secret").read_text()
    server.stop()

    other = places()
    restored = done("restore", "--data", tmp_path / "restored", tmp_path / "copy.tar", env=other)
    assert restored["rows"] == made["rows"] and restored["payloads"] == made["payloads"]
    assert (tmp_path / "restored/coap.secret").read_text() == password
    assert done("check", "--data", tmp_path / "restored", env=other)["problems"] == []
    again = start(data=tmp_path / "restored", env=other, trusting=False)
    assert again.token == server.token
    ids = {one["id"] for one in again.api("GET", "/devices?limit=500")["devices"]}
    assert "gw-1" in ids and "after-the-backup" not in ids
    assert again.api("GET", "/audit")["whole"]
    assert "server.restore" in [entry["action"] for entry in again.api("GET", "/audit")["entries"]]
    for name, data in release["payloads"].items():
        assert again.http.get(f"/p/{name}").content == data
    same = again.device("gw-1", device_password)
    assert same.wait_heard("offer") == [release["envelopes"]["unix"]], "offers go out again"
    say_packs(again, same, range(20, 25))
    eventually(lambda: again.api("GET", "/devices/gw-1/telemetry?limit=1")["telemetry"][0]["value"] == 24)
    assert "Traceback" not in again.log.read_text() + server.log.read_text()


@pytest.fixture(scope="module")
def original(ring, tmp_path_factory) -> Path:
    """The folder of a stopped server with a device, a release, and a backup of it."""
    folder = tmp_path_factory.mktemp("original")
    server = ServerProcess(folder / "data", "--trust", str(ring.trust))
    server.register("gw-1")
    assert server.publish(releases.make(ring.release, "1.1.0", 2)).status_code == 201
    server.stop()
    done("backup", "--data", folder / "data", folder / "copy.tar")
    return folder


@pytest.fixture
def saved(original, tmp_path) -> tuple[Path, Path]:
    """(data folder of a stopped server with a release, backup of it), to be damaged."""
    shutil.copytree(original / "data", tmp_path / "data")
    shutil.copy(original / "copy.tar", tmp_path / "copy.tar")
    return tmp_path / "data", tmp_path / "copy.tar"


def test_half_a_backup_or_a_changed_one_is_refused_and_leaves_nothing(saved, tmp_path):
    whole = saved[1].read_bytes()
    spots = {"cut": whole[: len(whole) // 2], "ends early": whole[: whole.index(b"contents.json") - 200]}
    at = whole.index(b"SQLite format 3") + 5000
    spots["changed"] = whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]
    spots["no archive"] = b"x" * 5000
    spots["empty"] = b""
    for name, data in spots.items():
        bad = tmp_path / f"{name}.tar"
        bad.write_bytes(data)
        assert "not a whole backup" in refused("restore", "--data", tmp_path / "new", bad), name
        assert "not a whole backup" in refused("check", bad), name
        assert {one.name for one in (tmp_path / "new").iterdir()} <= {"serve.lock"}
    assert "does not exist" in refused("restore", "--data", tmp_path / "new", tmp_path / "missing.tar")
    assert done("restore", "--data", tmp_path / "new", saved[1])["payloads"]


EVIL = ["../../evil", "/etc/evil", "files/../evil", "payloads/x", "link", "files/tidegate.db-wal", "files/payloads"]


@pytest.mark.parametrize("name", EVIL)
def test_a_backup_writes_nowhere_else(saved, tmp_path, name):
    bad = tmp_path / "bad.tar"
    with tarfile.open(saved[1]) as old, tarfile.open(bad, "w") as new:
        for member in old:
            if member.name == "contents.json":
                evil = tarfile.TarInfo(name)
                if name == "link":
                    evil.type, evil.name, evil.linkname = tarfile.SYMTYPE, "files/evil", "/etc/passwd"
                new.addfile(evil)
            new.addfile(member, old.extractfile(member))
    assert "not a whole backup" in refused("restore", "--data", tmp_path / "new", bad)
    assert not list(tmp_path.rglob("evil")) and not Path("/etc/evil").exists()


def field(name: str, value: str) -> bytes:
    """A record of tar's extended headers: its length, in which the length counts, and the rest."""
    rest = f" {name}={value}\n"
    size = len(rest) + 1
    while size != len(rest) + len(str(size)):
        size = len(rest) + len(str(size))
    return f"{size}{rest}".encode()


BOMBS = {
    "a tebibyte": [field("GNU.sparse.size", str(1 << 40)), field("GNU.sparse.map", "0,0")],
    "no map": [field("GNU.sparse.major", "1"), field("GNU.sparse.minor", "0")],
    "no number": [field("GNU.sparse.size", "x"), field("GNU.sparse.map", "0,3")],
    "a long number": [b"9" * 5000 + b" a=b\n"],
}


@pytest.mark.parametrize("kind", BOMBS)
def test_headers_that_are_larger_than_what_they_head(kind, saved, tmp_path):
    """A few bytes that would unpack to more than the disk has, or to what is no number, in a copy of a good backup."""
    with tarfile.open(saved[1]) as old, tarfile.open(tmp_path / "bad.tar", "w") as new:
        first = old.next()
        new.addfile(first, old.extractfile(first))
        records = b"".join(BOMBS[kind])
        header = tarfile.TarInfo("extended")
        header.type, header.size = tarfile.XHDTYPE, len(records)
        new.addfile(header, io.BytesIO(records))
        new.addfile(tarfile.TarInfo("files/bomb"))
    assert "not a whole backup" in refused("check", tmp_path / "bad.tar")
    assert "not a whole backup" in refused("restore", "--data", tmp_path / "new", tmp_path / "bad.tar")
    assert {one.name for one in (tmp_path / "new").iterdir()} <= {"serve.lock"}


@pytest.mark.parametrize("facts", [b"[" * 100_000, b'{"format": 1}', b"5"])
def test_what_a_backup_says_of_itself_may_be_odd(facts, tmp_path):
    bad = tmp_path / "bad.tar"
    with tarfile.open(bad, "w") as new:
        member = tarfile.TarInfo("backup.json")
        member.size = len(facts)
        new.addfile(member, io.BytesIO(facts))
    assert "not a whole backup" in refused("check", bad)


def test_what_is_there_is_not_overwritten(start, saved, tmp_path):
    data, copy = saved
    assert "not empty" in refused("restore", "--data", data, copy)
    assert "never changed" in refused("backup", "--data", data, copy)
    server = start(data=data)
    assert "another server is running" in refused("restore", "--data", data, copy)
    assert server.http.get("/healthz").status_code == 200
    assert "has no database" in refused("check", "--data", tmp_path / "nothing")
    assert "there is no database" in refused("backup", "--data", tmp_path / "nothing", tmp_path / "x.tar")


# A restore that is killed when it has unpacked everything, or has given the first of the files its name.
KILLED = """
import os, signal, sys
from pathlib import Path
from ota_server.backup import restore
from tidegate.cli import main

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

def name_one(data, scratch):
    rename = Path.rename
    Path.rename = lambda path, target: (rename(path, target), die())
    name(data, scratch)

name = restore._name
setattr(restore, sys.argv[1], {"_settle": die, "_name": name_one}[sys.argv[1]])
main(["server", "restore", "--data", *sys.argv[2:]])
"""


@pytest.mark.parametrize("moment", ["_settle", "_name"])
def test_a_killed_restore_is_begun_anew_and_no_server_starts_on_it(saved, tmp_path, moment):
    new = tmp_path / "new"
    killed = subprocess.run([sys.executable, "-c", KILLED, moment, new, saved[1]], timeout=limit(120))
    assert killed.returncode == -signal.SIGKILL
    named = [one.name for one in new.iterdir() if one.name not in ("serve.lock", ".restoring")]
    assert len(named) == (moment == "_name") and (new / ".restoring").exists()
    serve = [*TIDEGATE, "serve", "--data", str(new), "--http", "127.0.0.1:0", "--mqtt", "127.0.0.1:0"]
    found = subprocess.run(serve, capture_output=True, text=True, timeout=limit(120))
    assert found.returncode == 1 and "restore" in found.stderr, found.stderr
    done("restore", "--data", new, saved[1])
    assert done("check", "--data", new)["problems"] == [] and not (new / ".restoring").exists()


def test_a_backup_that_ends_leaves_nothing(saved, tmp_path):
    (tmp_path / "out").mkdir()
    process = subprocess.Popen([*TIDEGATE, "server", "backup", "--data", saved[0], tmp_path / "out"])
    eventually(lambda: list((tmp_path / "out").iterdir()) or process.poll() is not None)
    process.send_signal(signal.SIGTERM)
    code = process.wait(limit(60))
    left = [one.name for one in (tmp_path / "out").iterdir()]
    assert code in (0, 143, -signal.SIGTERM) and not [name for name in left if name.startswith(".")]
    assert [run("check", tmp_path / "out" / name).exit_code for name in left] in ([], [0]), "what is there is whole"


def test_only_the_newest_backups_stay(saved, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    names = [f"tidegate-2025010{day}T000000Z.tar" for day in range(1, 6)]
    for name in (*names, "mine.tar"):
        (out / name).write_text("")
    made = done("backup", "--data", saved[0], "--keep", "3", out)
    assert [Path(one).name for one in made["removed"]] == names[:3]
    assert sorted(one.name for one in out.iterdir()) == ["mine.tar", *names[3:], Path(made["backup"]).name]
    assert "--keep needs a folder" in refused("backup", "--data", saved[0], "--keep", "3", tmp_path / "one.tar")


def test_the_check_finds_what_is_wrong(saved, tmp_path):
    data = saved[0]
    files = sorted(one for one in (data / "payloads").rglob("*") if one.is_file())
    first, original = files[0], files[0].read_bytes()

    def problems() -> str:
        found = run("check", "--data", data, "--json")
        assert found.exit_code == 1, found.stdout
        return " ".join(json.loads(found.stdout)["problems"])

    first.write_bytes(original + b"x")
    assert first.name in problems() and "other bytes" in refused("backup", "--data", data, tmp_path / "bad.tar")
    first.unlink()
    assert f"no file of payload {first.name}" in problems()
    assert "no backup was made" in refused("backup", "--data", data, tmp_path / "bad.tar")
    assert not (tmp_path / "bad.tar").exists()
    first.write_bytes(original)
    (data / "coap.secret").chmod(0o644)
    assert "other users" in problems()
    (data / "coap.secret").rename(tmp_path / "secret")
    assert "coap.secret is missing" in problems()
    (tmp_path / "secret").rename(data / "coap.secret")
    (data / "coap.secret").chmod(0o600)
    (data / "payloads/ab").mkdir(exist_ok=True)
    (data / "payloads/ab" / ("ab" * 32)).write_bytes(b"cut off")
    assert "1 payload files without a row" in done("check", "--data", data)["notes"][0]

    def with_database(*statements: str) -> str:
        shutil.copy(data / "tidegate.db", tmp_path / "good.db")
        with sqlite3.connect(data / "tidegate.db") as connection:
            for statement in statements:
                connection.execute(statement)
        connection.close()
        said = problems()
        for name in ("tidegate.db-wal", "tidegate.db-shm"):
            (data / name).unlink(missing_ok=True)
        shutil.copy(tmp_path / "good.db", data / "tidegate.db")
        return said

    with sqlite3.connect(data / "tidegate.db") as connection:
        triggers = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'")]
    connection.close()
    free = [f"DROP TRIGGER {name}" for name in triggers]
    assert "broken at entry 2" in with_database(*free, "UPDATE audit SET actor = 'nobody' WHERE id = 2")
    assert "foreign_key_check" in with_database("PRAGMA foreign_keys=0", "UPDATE device SET offer_id = 999999")
    assert "not among the payloads" in with_database(f"DELETE FROM payload WHERE digest = '{first.name}'")
    database = bytearray((data / "tidegate.db").read_bytes())
    database[4096 * 3 : 4096 * 3 + 200] = bytes(200)
    (data / "tidegate.db").write_bytes(database)
    assert problems()


def test_a_log_that_was_cut_shows_against_what_was_seen(saved, tmp_path):
    data = saved[0]
    env = {"XDG_CONFIG_HOME": str(tmp_path / "config")}
    command = ["token", "new", "--scope", "read", "--data", str(data)]
    assert CliRunner().invoke(main, command, env=env).exit_code == 0
    assert done("check", "--data", data, env=env)["problems"] == []
    with sqlite3.connect(data / "tidegate.db") as connection:
        for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            connection.execute(f"DROP TRIGGER {row[0]}")
        connection.execute("DELETE FROM audit WHERE id = (SELECT max(id) FROM audit)")
    connection.close()
    assert "was cut" in refused("check", "--data", data, env=env)
    moved = done("restore", "--data", tmp_path / "new", saved[1], env=env)
    assert moved["payloads"] and done("check", "--data", tmp_path / "new", env=env)["problems"] == []
