"""Ctrl-C at the steps of `tidegate release publish`, at each in `make soak`, against a real server: one line, exit code
130, and the same command once more publishes the release whole and once.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import interrupted
import pytest
import signed_releases as releases
from release_folders import folder_of
from server_process import KeyRing, ServerProcess


@pytest.mark.parametrize("stride", [10, pytest.param(1, marks=pytest.mark.soak)])
def test_its_steps(start, ring: KeyRing, tmp_path: Path, stride: int) -> None:
    """Each run has a release of its own, so that what the run before has uploaded does not shorten it."""
    server: ServerProcess = start()
    number = 0
    folder = tmp_path / "release"
    words: list[str | Path] = ["release", "publish", folder, "--yes"]

    def another_release() -> None:
        nonlocal number
        number += 1
        shutil.rmtree(folder, ignore_errors=True)
        folder_of(releases.make(ring.release, f"1.{number}.0", number), folder)

    env = {"TIDEGATE_SERVER": server.url, "TIDEGATE_TOKEN_FILE": str(server.data / "admin.token")}
    steps = 0
    for step in interrupted.sweep(words, tmp_path, another_release, stride, env):
        steps = step
        done = interrupted.run(0, words, tmp_path, env)
        assert done.returncode == 0, done.stderr
        (found,) = [one for one in server.api("GET", "/releases")["releases"] if one["sequence"] == number]
        assert found["version"] == f"1.{number}.0"
    assert steps > 40, "there were 90 steps when this was written"
    audit = server.api("GET", "/audit", params={"limit": 500})
    published = [entry["subject"] for entry in audit["entries"] if entry["action"] == "release.publish"]
    assert len(published) == len(set(published)) == number and audit["whole"]
