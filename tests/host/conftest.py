"""What the host's tests share: the vectors, a project to build from, and the command line."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

ROOT = Path(__file__).resolve().parent.parent.parent
VECTORS = ROOT / "tests" / "vectors"
for folder in (ROOT, VECTORS):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))

from tidegate import keys, trust  # noqa: E402
from tidegate.cli import main  # noqa: E402

APP = """
import cbor


def start(boot):
    return cbor.dumps({{1: {text!r}}})
"""


def vectors(name: str) -> Any:
    """The content of one vector file."""
    return json.loads((VECTORS / name).read_text())


def write_app(project: Path, text: str) -> None:
    """Give the project an application that differs by `text`."""
    (project / "firmware" / "app" / "__init__.py").write_text(APP.format(text=text))


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
    (folder / "trust.cbor").write_bytes(trust.encode(trust.make(made.values())))
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
