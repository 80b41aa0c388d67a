"""The workflow and the recipe of docs/ci: their very `run:` steps, from clean clones, against a server here.

What a runner gives is stood in for and nothing else: `actions/checkout` is a clone, `actions/setup-python` a Python of
the runner's own, secrets and variables are values of this test. Each step runs in a shell with an empty environment
and a fresh home. A Linux gateway takes what comes out.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from lab import Installation
from lab.processes import ROOT
from patience import limit

from tidegate.release import load_release
from tidegate.sources import Sources

DEVICE = "gate-31"
WORKFLOW = ROOT / ".github" / "workflows" / "release.yml"
STEP_TIMEOUT_S = 600  # a native build on a busy machine
BOARDS = "unix qemu_mps2"  # those that releases of this test are run on or looked into; a real one takes all
USED = {"actions/checkout": "v4", "actions/setup-python": "v5"}


class Runner:
    """Runs a workflow's jobs as GitHub does, as far as these jobs use it; `machine` is what setup-python sets up."""

    def __init__(self, place: Installation, origin: Path, secrets: dict[str, str]):
        self.place = place
        self.origin = origin
        self.contexts = {
            "secrets": secrets,
            "vars": {"TIDEGATE_SERVER": place.url, "TIDEGATE_TRUST": str(place.trust)},
            "inputs": {},
        }
        self.machine = place.folder / "runner-python"
        self.given: dict[str, set[str]] = {}  # step -> the secrets it could see
        self.said = ""

    def run(self, workflow: dict[str, Any], more: dict[str, str]) -> None:
        done: set[str] = set()
        for name, job in workflow["jobs"].items():
            assert {job["needs"]} <= done if "needs" in job else True, "jobs are written in the order they need"
            self._job(name, job, {**self._values(workflow.get("env", {})), **more})
            done.add(name)

    def _job(self, name: str, job: dict[str, Any], env: dict[str, str]) -> None:
        folder = self.place.folder / f"job-{name}"
        home = self.place.folder / f"home-{name}"
        for stale in (folder, home):
            shutil.rmtree(stale, ignore_errors=True)
        home.mkdir()
        for step in job["steps"]:
            if "uses" in step:
                action, _, version = step["uses"].partition("@")
                assert USED[action] == version
                if action == "actions/checkout":
                    assert step["with"]["fetch-depth"] == 0
                    subprocess.run(["git", "clone", "--quiet", self.origin, folder], check=True)
                elif not self.machine.exists():
                    subprocess.run([sys.executable, "-m", "venv", self.machine], check=True)
                continue
            own = self._values(step.get("env", {}))
            self.given[f"{name}: {step['name']}"] = {key for key in own if key in self.contexts["secrets"]}
            path = f"{self.machine / 'bin'}:{self.place.folder / 'bin'}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
            self.said += shell(step["run"], folder, {**env, **own, "HOME": str(home), "PATH": path})

    def _values(self, env: dict[str, str]) -> dict[str, str]:
        return {name: re.sub(r"\$\{\{(.*?)\}\}", self._value, str(text)) for name, text in env.items()}

    def _value(self, found: re.Match[str]) -> str:
        for choice in found[1].split("||"):
            choice = choice.strip()
            context, _, name = choice.partition(".")
            value = choice.strip("'") if choice.startswith("'") else self.contexts[context].get(name, "")
            if value:
                return value
        return ""


def shell(script: str, folder: Path, env: dict[str, str], code: int = 0) -> str:
    """What the script printed, run as GitHub runs it, in an environment of `env` and nothing else."""
    done = subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", script],
        cwd=folder,
        env={**env, "LANG": "C.UTF-8", "CI": "true"},
        capture_output=True,
        text=True,
        timeout=limit(STEP_TIMEOUT_S),
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == code, f"{script}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout + done.stderr


def page_blocks() -> list[str]:
    """The commands of docs/ci/README.md: making tokens, making a release."""
    found = re.findall(
        r"^```sh\n(.*?)^```$", (ROOT / "docs" / "ci" / "README.md").read_text(), re.DOTALL | re.MULTILINE
    )
    assert len(found) == 2
    return found


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """A server with two tokens for CI, and a repository of the sources with a first commit; nothing is published."""
    with Installation(tmp_path_factory.mktemp("ci") / "place", target="unix") as made:
        made.make_keys()
        made.start_server()
        path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
        shell(page_blocks()[0], made.folder, {"PATH": path, "HOME": str(made.folder)})
        yield made


@pytest.fixture(scope="module")
def origin(place: Installation) -> Path:
    """The sources as they are here, committed to a repository of their own: also what is not committed yet."""
    folder = place.folder / "origin"
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in listed.stdout.decode().split("\0"):
        if name and (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    git(folder, "init", "--quiet", "--initial-branch=main")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "the first")
    git(folder, "tag", "v1.0.0")
    return folder


def git(folder: Path, *words: str) -> str:
    who = ["-c", "user.name=Nobody", "-c", "user.email=nobody@tidegate.example", "-c", "commit.gpgsign=false"]
    return subprocess.run(["git", *who, *words], cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


def commit_change(origin: Path, version: str) -> None:
    """A change of the application, committed and tagged."""
    app = Sources.checkout(origin).app / "__init__.py"
    app.write_text(app.read_text() + f"\nREVISION = {version!r}\n")
    git(origin, "commit", "--quiet", "--all", "--message", f"to {version}")
    git(origin, "tag", f"v{version}")


@pytest.fixture(scope="module")
def runner(place: Installation, origin: Path) -> Runner:
    secrets = {
        "RELEASE_KEY": place.key("release").read_text(),
        "PUBLISH_TOKEN": (place.folder / "publish.token").read_text(),
        "ROLLOUT_TOKEN": (place.folder / "rollout.token").read_text(),
    }
    return Runner(place, origin, secrets)


def machine(place: Installation) -> dict[str, str]:
    """What of this machine the jobs are told: where MicroPython's sources are, pip's cache, which boards."""
    bin_folder = place.folder / "bin"
    bin_folder.mkdir(exist_ok=True)
    if not shutil.which("sudo"):  # we are root in a container without it
        (bin_folder / "sudo").write_text('#!/bin/sh\nexec "$@"\n')
        (bin_folder / "sudo").chmod(0o755)
    told = {"BOARDS": BOARDS, "NATIVE_CORES": "armv7m"}
    told["TIDEGATE_MICROPYTHON"] = os.environ.get("TIDEGATE_MICROPYTHON", str(ROOT / ".toolchain" / "micropython"))
    told["PIP_CACHE_DIR"] = os.environ.get("PIP_CACHE_DIR", str(Path.home() / ".cache" / "pip"))
    told["PIP_NO_COMPILE"] = "1"
    names = ("PIP_INDEX_URL", "PIP_CONFIG_FILE", "PIP_CERT", "SSL_CERT_FILE", "HTTPS_PROXY", "NO_PROXY")
    return told | {name: os.environ[name] for name in names if name in os.environ}


def test_the_workflow_from_a_clean_clone_to_a_confirmed_update(
    place: Installation, origin: Path, runner: Runner
) -> None:
    workflow = yaml.safe_load(WORKFLOW.read_text())
    runner.run(workflow, machine(place))
    assert "is empty" in runner.said, "nothing to link against the first time"
    published = place.api.releases()["releases"]
    assert [(one["version"], one["sequence"], one["channel"]) for one in published] == [("1.0.0", 1, "candidate")]
    assert place.api.rollout("tidegate-gateway", "1.0.0")["channels"] == ["candidate", "stable"]
    assert runner.given == {
        "release: Compilers for the native modules": set(),
        "release: Prepare": set(),
        "release: Fetch what is published": {"PUBLISH_TOKEN"},
        "release: Build": set(),
        "release: Build it again and compare": set(),
        "release: Sign": {"RELEASE_KEY"},
        "release: Verify": set(),
        "release: Publish": {"PUBLISH_TOKEN"},
        "rollout: Prepare": set(),
        "rollout: Roll out": {"ROLLOUT_TOKEN"},
    }, "each step sees the secret it needs, and no other"
    for secret in runner.contexts["secrets"].values():
        assert secret.strip() not in runner.said
    assert not list(place.folder.glob("job-*/build/release/secret.*")), "no secret is left on the runner's disk"

    # A gateway that was flashed with what CI made.
    made = place.folder / "job-release" / "build" / "release" / "releases" / "1.0.0"
    shutil.copytree(made, place.release("1.0.0"))
    place.source = place.folder / "job-release"
    place.flash(place.add_gateway(DEVICE), DEVICE, "1.0.0")
    place.wait_running(DEVICE, "1.0.0", 120)


def test_the_recipe_links_to_what_is_published_and_the_update_is_confirmed(
    place: Installation, origin: Path, runner: Runner
) -> None:
    commit_change(origin, "1.1.0")
    folder, home = place.folder / "by-hand", place.folder / "home"
    subprocess.run(["git", "clone", "--quiet", origin, folder], check=True)
    home.mkdir()
    for name in ("trust.cbor", "publish.token", "rollout.token", "keys"):
        (folder / name).symlink_to(place.folder / name)
    env = {
        **machine(place),
        "HOME": str(home),
        "PATH": f"{runner.machine / 'bin'}:/usr/local/bin:/usr/bin:/bin",
        "BOARDS": "unix",
        "NATIVE": "no",
    }
    recipe = page_blocks()[1].replace("http://127.0.0.1:8080", place.url)
    said = shell(recipe, folder, env)
    made = load_release(folder / "build" / "release" / "releases" / "1.1.0")
    before = load_release(place.release("1.0.0"))
    for board, target in made.targets.items():
        assert target.predecessor == before.targets[board].digest, "linked against the release on the server"
        assert [patch.base for patch in target.patches] == [before.targets[board].digest]
        assert target.patches[0].size * 20 < target.size
    assert re.search(rf"1 +unix +default +1\.0\.0 +a patch of {made.targets['unix'].patches[0].size} bytes", said), said
    shown = place.wait_running(DEVICE, "1.1.0", 180)
    assert shown["digest"] == made.targets["unix"].digest
    assert place.wait_report(DEVICE, "offered", 0, 10)["detail"] == "patch"
    place.wait_report(DEVICE, "confirmed", 0, 90)
    status = json.loads(place.tidegate("rollout", "status", "1.1.0", "--json"))
    assert status["counts"]["running"] == 1 and status["devices"][0]["state"] == "running"

    # The same job again: the same bytes, and nothing is sent or offered twice.
    again = {board: target.digest for board, target in made.targets.items()}
    steps = "for step in fetch build reproduce sign verify publish rollout; do docs/ci/release.sh $step; done"
    said = shell(recipe.replace("docs/ci/release.sh all", steps), folder, env)
    made = load_release(folder / "build" / "release" / "releases" / "1.1.0")
    assert {board: target.digest for board, target in made.targets.items()} == again
    assert "to upload: 0 of" in said and "it was already" in said and "stable already" in said


def test_a_signer_makes_the_same_manifests(place: Installation, runner: Runner) -> None:
    """SIGNER in the place of the key: here a program with the key in its file, elsewhere a token or a service."""
    folder = place.folder / "by-hand"
    manifest = folder / "build" / "release" / "releases" / "1.1.0" / "unix.suit"
    signed = manifest.read_bytes()
    manifest.unlink()
    signer = place.folder / "signer.py"
    signer.write_text(
        "import sys\nfrom nacl.signing import SigningKey\nfrom tidegate.trust import keys\n"
        f"seed = keys.load({str(place.key('release'))!r}).seed_for('release')\n"
        "sys.stdout.buffer.write(SigningKey(seed).sign(sys.stdin.buffer.read()).signature)\n"
    )
    env = {
        "HOME": str(place.folder),
        "PATH": f"{runner.machine / 'bin'}:/usr/bin:/bin",
        "SIGNER": f"python3 {signer}",
        "RELEASE_PUBLIC": f"{place.key('release')}.pub",
    }
    shell("docs/ci/release.sh sign", folder, env)
    assert manifest.read_bytes() == signed


def test_what_ci_may_not(place: Installation, runner: Runner) -> None:
    """The token of the publish step, in the hands of somebody else."""
    token = ("--token-file", place.folder / "publish.token")
    release = place.folder / "by-hand" / "build" / "release" / "releases" / "1.1.0"
    for words in (
        ("release", "publish", release, "--channel", "stable", "--yes"),
        ("rollout", "start", "1.0.0", "--group", "default", "--yes"),
        ("group", "set", "default", "--release", "1.0.0"),
        ("device", "list"),
        ("device", "add", "mine", "--board", "unix"),
    ):
        done = place.run(*words, *token)
        assert done.returncode == 1 and ("may publish into candidate" in done.stderr or "this needs" in done.stderr)
    done = place.run("release", "publish", release, "--channel", "candidate", *token)
    assert done.returncode == 0 and "already" in done.stdout, "what is published already needs no answer"


def test_steps_that_lack_something_say_so(place: Installation, runner: Runner) -> None:
    folder = place.folder / "by-hand"
    env = {"HOME": str(place.folder), "PATH": f"{runner.machine / 'bin'}:/usr/bin:/bin", "TIDEGATE_SERVER": place.url}
    for script, words in (
        ("docs/ci/release.sh publish", "neither PUBLISH_TOKEN nor PUBLISH_TOKEN_FILE is set"),
        ("docs/ci/release.sh sign", "neither RELEASE_KEY nor RELEASE_KEY_FILE is set"),
        ("docs/ci/release.sh deploy", "no such step: deploy"),
        ("VERSION=../../etc docs/ci/release.sh build", "'../../etc' is no version"),
        ("RELEASE_KEY='{}' docs/ci/release.sh sign", "release.jwk|key"),
    ):
        assert re.search(words, shell(script, folder, env, code=1))
    assert not list((folder / "build" / "release").glob("secret.*"))
    shallow = place.folder / "shallow"
    subprocess.run(
        ["git", "clone", "--quiet", "--depth", "1", f"file://{place.folder / 'origin'}", shallow], check=True
    )
    assert "this clone is shallow" in shell("docs/ci/release.sh build", shallow, env, code=1)
