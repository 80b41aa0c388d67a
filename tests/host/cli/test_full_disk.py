"""A disk that is full: each command names what it could not write and the remedy, and leaves nothing half done.

The disk is a tmpfs of 2 MiB where we are root; elsewhere RLIMIT_FSIZE forbids every write, which is a disk that was
full before anything began.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import mip_index
import pytest
from projects import ROOT

from tidegate.release import load_release
from tidegate.trust import keys, store

UNIX = ROOT / "build" / "unix" / "micropython"
DISK = 2 << 20  # bytes
WHY = "No space left on device|File too large"


class Disk:
    """folder: on the disk; `fill` leaves so many bytes of it."""

    def __init__(self, folder: Path, is_own: bool):
        self.folder = folder
        self._is_own = is_own

    def fill(self, left: int) -> None:
        if not self._is_own:
            return
        ballast = self.folder / "ballast"
        ballast.unlink(missing_ok=True)
        found = os.statvfs(self.folder)
        ballast.write_bytes(bytes(found.f_bavail * found.f_frsize - left))

    def files(self) -> set[str]:
        return {path.relative_to(self.folder).as_posix() for path in self.folder.rglob("*")}

    def run(self, folder: Path, *words: str | Path) -> subprocess.CompletedProcess[str]:
        limit = () if self._is_own else ("prlimit", "--fsize=0")
        command = [*limit, sys.executable, "-m", "tidegate", *map(str, words)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", "TMPDIR": str(folder)}
        return subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    folder = tmp_path / "disk"
    folder.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(words, capture_output=True).returncode:
        yield Disk(folder, is_own=False)
        return
    try:
        yield Disk(folder, is_own=True)
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture(scope="module")
def prototype(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with keys and a first release."""
    folder = tmp_path_factory.mktemp("prototype")
    disk, gate = Disk(folder, is_own=True), folder / "gate"
    assert disk.run(folder, "new", "gate", "--vendor", "acme.example", "--board", "unix").returncode == 0
    (gate / "keys").mkdir()
    found = [keys.new(role) for role in ("release", "command", "root")]
    for key in found:
        keys.save(key, gate / "keys" / f"{key.role}.jwk")
    (gate / "trust.cbor").write_bytes(store.encode(store.make(found)))
    done = disk.run(gate, "release")
    assert done.returncode == 0, done.stderr
    return gate


@pytest.fixture
def made(disk: Disk, prototype: Path) -> Path:
    """The same on the disk."""
    return Path(shutil.copytree(prototype, disk.folder / "gate"))


@pytest.mark.parametrize("left", (0, 100_000))
def test_a_new_project(disk: Disk, left: int) -> None:
    disk.fill(left)
    before = disk.files()
    done = disk.run(disk.folder, "new", "other", "--vendor", "a.b")
    assert done.returncode == 1 and re.match(f"Error: cannot write other(/.*)?: ({WHY})\n  ", done.stderr), done.stderr
    assert disk.files() == before


@pytest.mark.parametrize(
    ("words", "named"),
    (
        (("build",), ".tidegate/.*build.new"),
        (("release", "--version", "0.2.0"), "releases/0.2.0"),
        (("release", "build", "--board", "unix", "--version", "2", "--sequence", "2", "--out", "two"), "two"),
        (("release", "sign", "releases/0.1.0", "--key", "keys/release.jwk"), "releases/0.1.0/"),
        (("key", "new", "--role", "diagnose", "--out", "keys/other.jwk"), "keys/other.jwk"),
        (("dev", "--board", "unix"), ".tidegate/dev/"),
        pytest.param(("test", "--ground", "unix"), ".tidegate/", marks=pytest.mark.built),
    ),
    ids=lambda value: "-".join(value[:2]) if isinstance(value, tuple) else "",
)
def test_in_a_project(disk: Disk, made: Path, words: tuple[str, ...], named: str) -> None:
    disk.fill(0)
    before, release = disk.files(), load_release(made / "releases" / "0.1.0")
    done = disk.run(made, *words)
    assert done.returncode == 1, done.stdout + done.stderr
    assert re.search(f"^Error: .*{named}.*({WHY})\n  .*(space|room).*$", done.stderr, re.MULTILINE), done.stderr
    assert {path for path in disk.files() - before if not re.match(r"gate/\.tidegate/(dev|test)", path)} == set()
    assert load_release(made / "releases" / "0.1.0") == release


def test_libraries(disk: Disk, made: Path) -> None:
    """The lock would be small: what is downloaded has room first, and then the lock has none."""
    file = made / "tidegate.toml"
    file.write_text(file.read_text() + '\n[libraries]\nrequires = ["crc"]\n')
    before = disk.files()
    with mip_index.serve() as index:
        index.add("crc", "1.0.0", {"crc.py": "x = 1\n" * 1000})
        for left in (0, 8 << 10):
            disk.fill(left)
            done = disk.run(made, "lock", "--index", index.url)
            assert done.returncode == 1 and re.search(WHY, done.stderr), done.stderr
            assert re.search(r"^  .*(space|room)", done.stderr, re.MULTILINE), done.stderr
            assert not (made / "tidegate.lock").exists()
    assert {path for path in disk.files() - before if ".tidegate" not in path} <= {"ballast"}


@pytest.mark.built
@pytest.mark.skipif(not UNIX.exists(), reason="build/unix/micropython is not built")
def test_flashing(disk: Disk, made: Path) -> None:
    """Nothing that would be booted: with room it is flashed as if for the first time."""
    config = {"device": "g", "product": "gate", "vendor": "acme.example", "board": "unix", "uplink": "mqtt"}
    facts = {**config, "mqtt": {"host": "127.0.0.1", "port": 9}, "payloads": "http://127.0.0.1:9/"}
    (made / "config.json").write_text(repr(facts).replace("'", '"'))
    (made / "credentials.json").write_text('{"user": "g", "password": "p"}')
    words = ["flash", f"unix:{disk.folder}/board", "--board", "unix", "--release", "releases/0.1.0"]
    words += ["--trust", "trust.cbor", "--config", "config.json", "--credentials", "credentials.json"]
    disk.fill(100_000)
    done = disk.run(made, *words)
    assert done.returncode == 1 and re.search(r"^ .*([Rr]oom|space|[Rr]emove)", done.stderr, re.MULTILINE), done.stderr
    assert not (disk.folder / "board" / "main.py").exists()
    with contextlib.suppress(FileNotFoundError):
        (disk.folder / "ballast").unlink()
    shutil.rmtree(made / ".tidegate", ignore_errors=True)
    done = subprocess.run([sys.executable, "-m", "tidegate", *words], cwd=made, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
