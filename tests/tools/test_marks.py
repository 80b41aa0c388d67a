"""The tables of tests/conftest.py name what is there."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent.parent
ROOT = TESTS.parent


def tables() -> dict[str, ast.expr]:
    """What is assigned at the top of tests/conftest.py."""
    tree = ast.parse((TESTS / "conftest.py").read_text())
    return {
        node.targets[0].id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }


def test_the_slow_files_are_there_and_the_slowest_come_first() -> None:
    lines = [line.split() for line in (TESTS / "durations.txt").read_text().splitlines() if not line.startswith("#")]
    assert len(lines) > 20
    assert not [name for _, name in lines if not (ROOT / name).is_file()], (
        "write it anew: make test ARGS=--note-durations"
    )
    seconds = [float(took) for took, _ in lines]
    assert seconds == sorted(seconds, reverse=True)


def test_the_marked_folders_are_there() -> None:
    folders = ast.literal_eval(tables()["FOLDERS"])
    assert {"board", "e2e", "server"} <= set(folders)
    assert not [name for name in folders if not (TESTS / name).is_dir()]


def test_every_mark_says_what_it_means(pytestconfig: pytest.Config) -> None:
    meanings = dict(line.split(": ", 1) for line in pytestconfig.getini("markers") if ": " in line)
    for name in ("board", "built", "broker", "server", "slow", "soak", "cpython", "unix", "cortex-m3"):
        assert len(meanings[name]) > 10, name
