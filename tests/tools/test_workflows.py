"""The tests workflow runs .ci/run, and .ci/run is `make test` and nothing else."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent.parent
CI = ROOT / ".ci/run"
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))


def load(path: Path) -> dict[Any, Any]:
    found = yaml.safe_load(path.read_text())
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_is_as_github_wants_it(path: Path) -> None:
    workflow = load(path)
    assert True in workflow, "YAML reads `on` as true"
    assert workflow["permissions"] == {"contents": "read"}
    for job in workflow["jobs"].values():
        assert job["timeout-minutes"] <= 60 and job["runs-on"].startswith("ubuntu-")
        for step in job["steps"]:
            assert ("run" in step) != ("uses" in step)
            assert re.fullmatch(r"actions/[a-z-]+@v\d+", step.get("uses", "actions/x@v1"))


def test_pushes_and_pull_requests_are_tested_on_a_bare_debian() -> None:
    workflow = load(ROOT / ".github/workflows/tests.yml")
    assert set(workflow[True]) == {"push", "pull_request"}
    (job,) = workflow["jobs"].values()
    runs = [step["run"] for step in job["steps"] if "run" in step]
    assert job["container"] == "debian:12" and runs[-1] == ".ci/run"
    installed = re.findall(r"[a-z0-9-]+$|(?<= )[a-z0-9-]+(?= )", runs[0].partition("--no-install-recommends")[2])
    assert set(installed) == {"ca-certificates", "git", "make", "python3"}, "what the README asks for, and no more"


def test_ci_runs_make_test_and_nothing_else() -> None:
    assert CI.stat().st_mode & 0o111
    lines = [line for line in CI.read_text().splitlines() if line and not line.startswith("#")]
    assert lines == ["set -euo pipefail", 'cd "$(dirname "$0")/.."', "exec make test"]
