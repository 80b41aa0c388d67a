"""Commit messages: what tools/commit_message.py takes and refuses, and that `make hooks` puts it before a commit."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
TOOL = ROOT / "tools/commit_message.py"
BODY = "\n\nTwo at once left a slot half written.\n"
HOOKED = (".pre-commit-config.yaml", "pyproject.toml", "tools/commit_message.py")

import commit_message  # noqa: E402


@pytest.mark.parametrize(
    "message",
    [
        commit_message.EXAMPLE,
        "tools/setup: Bring what tests need." + BODY,
        "boards, tests: Share what both repeat." + BODY,
        "py/runtime.c: Address a fault." + BODY,
        "docs: Need no pipe that closes early." + BODY + "\nSigned-off-by: Somebody <somebody@example.org>\n",
        "docs: Link to the draft." + BODY + "\nhttps://example.org/" + "a" * 80 + "\n",
        "docs: Say why." + BODY + "# Please enter the commit message for your changes, whatever its length may be.\n",
        "docs: Say why." + BODY + commit_message.SCISSORS + "\ndiff --git a/x b/x\n+" + "x " * 60 + "\n",
        "Merge branch 'main' into fresh",
        'Revert "docs: Say why."\n\nThis reverts commit 0123456789.',
        "fixup! docs: Say why.",
    ],
    ids=lambda message: message.splitlines()[0][:30],
)
def test_good_messages(message: str) -> None:
    assert commit_message.faults(message) == []


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ("", "empty"),
        ("# only a comment\n", "empty"),
        ("docs: Say why.", "no body"),
        ("docs: Say why.\n\nSigned-off-by: Somebody <somebody@example.org>\n", "no body"),
        ("docs: Say why.\nAt once." + BODY, "second line"),
        ("Say why." + BODY, "path"),
        ("formatted" + BODY, "path"),
        ("docs: say why." + BODY, "capital"),
        ("docs: Say why" + BODY, "full stop"),
        ("docs: Say why..." + BODY, "full stop"),
        ("docs: Added a page." + BODY, "imperative"),
        ("docs: Adding a page." + BODY, "imperative"),
        ("docs: Adds a page." + BODY, "imperative"),
        ("docs: Say " + "why " * 20 + "so." + BODY, "columns"),
        ("docs: Say why.\n\n" + "long " * 20 + "\n", "more than 72"),
    ],
)
def test_messages_with_a_fault(message: str, words: str) -> None:
    [fault] = commit_message.faults(message)
    assert words in fault


def test_every_fault_of_a_message_is_named_at_once() -> None:
    assert len(commit_message.faults("added " + "x" * 80)) == 3


def git(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    who = ["-c", "user.name=me", "-c", "user.email=me@example.org"]
    return subprocess.run(["git", "-C", str(folder), *who, *words], capture_output=True, text=True)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with this project's hooks, installed as `make hooks` does it, and one commit."""
    for name in HOOKED:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / ".venv").symlink_to(ROOT / ".venv")
    (tmp_path / ".gitignore").write_text("/.venv\n")
    assert git(tmp_path, "init", "--quiet", "--initial-branch", "main").returncode == 0
    git(tmp_path, "add", "--all")
    assert git(tmp_path, "commit", "--quiet", "--message", "begun").returncode == 0
    shutil.copy(ROOT / "Makefile", tmp_path / "Makefile")
    hooks = subprocess.run(["make", "--old-file=environment", "hooks"], cwd=tmp_path, capture_output=True, text=True)
    assert hooks.returncode == 0, hooks.stdout + hooks.stderr
    return tmp_path


def test_the_hooks_refuse_and_let_pass(repository: Path) -> None:
    page = repository / "page.md"
    page.write_text("one\n")
    git(repository, "add", "page.md")
    refused = git(repository, "commit", "--message", "one page")
    assert refused.returncode != 0 and "does not begin with the path" in refused.stderr, refused.stderr
    taken = git(repository, "commit", "--message", "page: Add a page.\n\nThere was none.")
    assert taken.returncode == 0, taken.stderr
    (repository / "untidy.py").write_text("import os\nx = [ 1 ]\n")
    git(repository, "add", "untidy.py")
    refused = git(repository, "commit", "--message", "tools: Add a module.\n\nIt is untidy.")
    assert refused.returncode != 0 and "ruff" in refused.stderr, refused.stderr


def test_commits_that_exist_can_be_checked(repository: Path) -> None:
    git(repository, "commit", "--allow-empty", "--no-verify", "--message", "docs: Say why.\n\nIt was asked.")
    git(repository, "commit", "--allow-empty", "--no-verify", "--message", "said why")
    command = [sys.executable, str(TOOL), "--range"]
    good = subprocess.run([*command, "HEAD~2..HEAD~1"], cwd=repository, capture_output=True, text=True)
    assert good.returncode == 0 and not good.stderr
    bad = subprocess.run([*command, "HEAD~2..HEAD"], cwd=repository, capture_output=True, text=True)
    assert bad.returncode == 1
    assert bad.stderr.count("commit message of ") == 2, bad.stderr
