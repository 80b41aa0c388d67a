"""An older Tidegate out of this repository's own history, with its firmware built."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


def old_tree(commit: str) -> Path:
    """The tree of a commit in build/old, made once; the calling test is skipped where the history is not there."""
    folder = ROOT / "build" / "old" / commit
    if (folder / "complete").exists():
        return folder
    command = ["git", "-C", str(ROOT), "archive", "--format=tar", commit]
    archive = subprocess.run(command, capture_output=True)
    if archive.returncode:
        pytest.skip(f"this clone does not hold commit {commit} (git fetch --unshallow brings it)")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    subprocess.run(["tar", "--extract", "--directory", str(folder)], input=archive.stdout, check=True)
    _declare_commands(folder)
    # The toolchain is fetched and the native modules are built the same way for both.
    (folder / ".toolchain").symlink_to(ROOT / ".toolchain")
    (folder / "build").mkdir()
    (folder / "build" / "native").symlink_to(ROOT / "build" / "native")
    jobs = str(os.cpu_count() or 1)
    make = ["make", "-s", "-j", jobs, "-C", str(folder / "boards/qemu_mps2"), f"PYTHON={sys.executable}"]
    done = subprocess.run(make, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    (folder / "complete").touch()
    return folder


def _declare_commands(folder: Path) -> None:
    """Beside the old code, what its installation would say of its commands: they stand in other modules today."""
    groups = tomllib.loads((folder / "pyproject.toml").read_text())["project"]["entry-points"]
    lines = [
        f"[{group}]\n" + "".join(f"{name} = {place}\n" for name, place in found.items())
        for group, found in groups.items()
    ]
    facts = folder / "tidegate-0.1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: tidegate\nVersion: 0.1.0\n")
    (facts / "entry_points.txt").write_text("".join(lines))
