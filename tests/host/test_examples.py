"""examples/ holds projects as `tidegate new` makes them: they build, their tests pass, their types hold."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from projects import ROOT

from tidegate import project
from tidegate.dev import testing
from tidegate.image import Identity, build_image, romfs
from tidegate.project import create
from tidegate.sources import EXAMPLE, Sources

EXAMPLES = sorted(path.parent for path in (ROOT / "examples").glob("*/tidegate.toml"))
MOST_BYTES = {"minimal": 170_000, "vehicle-gateway": 205_000}  # of an image for the emulated board


def test_both_are_there() -> None:
    assert [folder.name for folder in EXAMPLES] == sorted(MOST_BYTES)


@pytest.mark.parametrize("folder", EXAMPLES, ids=lambda folder: folder.name)
def test_it_builds_and_stays_small(folder: Path) -> None:
    made = project.load(folder)
    board = made.sources.board(made.boards[0])
    image = build_image(made.sources, board, Identity(made.product, "1", 1, board.name))
    assert "/app/__init__.mpy" in romfs.files(image)
    if board.native and (ROOT / "build" / "native" / board.arch).is_dir():
        assert len(image) <= MOST_BYTES[folder.name]


@pytest.mark.parametrize("folder", EXAMPLES, ids=lambda folder: folder.name)
def test_its_own_tests_pass(folder: Path) -> None:
    made = project.load(folder)
    results = list(testing.run(made, "cpython", testing.find(made)))
    assert len(results) >= 2 and all(result.passed for result in results), results


@pytest.mark.parametrize("folder", EXAMPLES, ids=lambda folder: folder.name)
def test_it_is_what_new_makes(folder: Path, tmp_path: Path) -> None:
    """Application, tests, README and tidegate.toml are its own; typings/ is for editors, and made where one works."""
    made = project.load(folder)
    new = create.create(tmp_path / "new", create.Answers(made.product, made.vendor, made.boards)).folder
    for template, name in create.FILES.items():
        assert (folder / name).is_file(), name
        if template in ("gitignore", "mypy.ini", "workflow.yml"):
            assert (folder / name).read_text() == (new / name).read_text(), name


def test_its_types_hold() -> None:
    """One run for both would not do: each has a package `app`."""
    for folder in EXAMPLES:
        command = [sys.executable, "-m", "mypy", "--config-file", "mypy.ini", "--cache-dir", os.devnull]
        environment = {**os.environ, "MYPYPATH": str(ROOT / "firmware" / "typings")}
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment)
        assert done.returncode == 0, done.stdout + done.stderr


def test_a_checkout_builds_the_example_unless_it_has_an_application_of_its_own(tmp_path: Path) -> None:
    """As forks have, and old commits that a release is built from again."""
    found = Sources.checkout(ROOT)
    assert found.app == ROOT / EXAMPLE / "app" and found.features == project.load(ROOT / EXAMPLE).sources.features
    (tmp_path / EXAMPLE / "app").mkdir(parents=True)
    assert Sources.checkout(tmp_path).app == tmp_path / EXAMPLE / "app"
    (tmp_path / "firmware" / "app").mkdir(parents=True)
    (tmp_path / "firmware" / "image.toml").write_text('[image]\nfeatures = ["coap"]\n')
    found = Sources.checkout(tmp_path)
    assert (found.app, found.features) == (tmp_path / "firmware" / "app", ("coap",))
