"""Fixtures of the host's tests: a project to build from, keys, and the command line."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from hypothesis import settings
from projects import ROOT, write_app

from tidegate.cli import main
from tidegate.trust import keys, store

# The same examples in every run; TIDEGATE_FUZZ=1 looks for new ones.
settings.register_profile("repeatable", derandomize=True)
if not os.environ.get("TIDEGATE_FUZZ"):
    settings.load_profile("repeatable")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project folder with the real device libraries and a small application of its own."""
    folder = tmp_path / "project"
    shutil.copytree(
        ROOT / "firmware" / "lib", folder / "firmware" / "lib", ignore=shutil.ignore_patterns("__pycache__")
    )
    (folder / "firmware" / "app").mkdir(parents=True)
    shutil.copytree(
        ROOT / "boards",
        folder / "boards",
        ignore=lambda path, names: [n for n in names if not ((Path(path) / n).is_dir() or n == "board.toml")],
    )
    write_app(folder, "one")
    return folder


@pytest.fixture
def key_folder(tmp_path: Path) -> Path:
    """A folder with release.jwk, command.jwk, stranger.jwk and trust.cbor (without the stranger)."""
    folder = tmp_path / "keys"
    folder.mkdir()
    made = {role: keys.new(role) for role in ("release", "command")}
    for role, key in made.items():
        keys.save(key, folder / f"{role}.jwk")
    keys.save(keys.new("release"), folder / "stranger.jwk")
    (folder / "trust.cbor").write_bytes(store.encode(store.make(made.values())))
    return folder


@pytest.fixture
def cli() -> Callable[..., Result]:
    """Run `tidegate` with arguments; the result has exit_code, stdout and stderr."""

    def run(*arguments: object) -> Result:
        result = CliRunner().invoke(main, [str(argument) for argument in arguments], prog_name="tidegate")
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return run
