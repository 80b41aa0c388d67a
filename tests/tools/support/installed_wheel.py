"""The wheel as people install it: built, and in a virtual environment of its own, with no checkout beside it."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def build(out: Path) -> Path:
    """The wheel, built into the folder `out`."""
    command = [sys.executable, str(ROOT / "tools" / "dist.py"), "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (wheel,) = out.glob("*.whl")
    return wheel


def install(wheel: Path, folder: Path) -> Path:
    """Install `wheel` in a new virtual environment in `folder`; the path of `tidegate` there.

    What it depends on comes from this environment's packages: a path file adds their folder, whose own path files, such
    as that of the checkout installed there, do not count.
    """
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    site = next((folder / "lib").glob("python*/site-packages"))
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", "--no-index"]
    done = subprocess.run([*command, "--disable-pip-version-check", str(wheel)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "bin" / "tidegate"


def environment(program: Path) -> dict[str, str]:
    """Variables of a person who has nothing of ours set, and who finds `tidegate` on the path."""
    others = {name: value for name, value in os.environ.items() if not name.startswith("TIDEGATE_")}
    return {**others, "PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}"}
