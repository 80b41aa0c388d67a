"""Ctrl-C at the steps of the commands that write into a project, at each in `make soak`: one line, exit code 130, and
nothing half done.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import interrupted
import mip_index
import pytest

PROJECT = """
[product]
name = "acme-cooler"
vendor = "acme.example"
boards = ["unix"]
version = "1.0.0"

[libraries]
index = "{index}"
requires = ["sensor@1.2.0"]
"""


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Path]:
    """It requires a library, which depends on another."""
    with mip_index.serve() as index:
        index.add("bus", "0.3.0", {"bus/core.py": "SCALE = 10\n", "bus/__init__.py": ""})
        index.add("sensor", "1.2.0", {"sensor.py": "import bus.core\n"}, (("bus", "latest"),))
        folder = tmp_path / "project"
        (folder / "app").mkdir(parents=True)
        (folder / "app" / "__init__.py").write_text("import sensor\n\n\ndef start(boot):\n    pass\n")
        (folder / "tidegate.toml").write_text(PROJECT.format(index=index.url))
        yield folder


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("stride", [5, pytest.param(1, marks=pytest.mark.soak)])
def test_lock(project: Path, tmp_path: Path, stride: int) -> None:
    untouched = tmp_path / "untouched"
    shutil.copytree(project, untouched)

    def restore() -> None:
        shutil.rmtree(project)
        shutil.copytree(untouched, project)

    steps = 0
    locked: set[bytes] = set()
    partly: list[dict[str, bytes]] = []
    for step in interrupted.sweep(["lock"], project, restore, stride):
        steps = step
        now = files(project)
        locked.add(now.pop("tidegate.lock", b""))
        partly.append(now)
    whole = files(project)  # of the run that came to its end
    assert steps > 40, "there were 70 steps when this was written"
    assert locked <= {b"", whole["tidegate.lock"]}
    for found in partly:  # a part of the cache may be there, and nothing else
        assert found.items() <= whole.items()
