"""docs/signing.md, every command of it, from top to bottom."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from patience import limit

from tidegate.release import build_release, load_release, verify_release
from tidegate.sources import Sources
from tidegate.trust import keys, rotation
from tidegate.trust import store as trust_store

ROOT = Path(__file__).resolve().parent.parent.parent
BOARD = "unix"
TIMEOUT_S = limit(300)

pytestmark = pytest.mark.slow  # a page of some fifty commands


def place(folder: Path) -> None:
    """What the page takes for granted: a checkout, two releases, a data file, keys, a trust update."""
    (folder / "keys").mkdir()
    for role in ("release", "root"):
        keys.save(keys.new(role), folder / "keys" / f"{role}.jwk")
    (folder / "tools").symlink_to(ROOT / "tools")
    # Without the agent there is less to compile.
    without = shutil.ignore_patterns("__pycache__", "tidegate")
    shutil.copytree(ROOT / "firmware/lib", folder / "firmware/lib", ignore=without)
    (folder / "firmware/app").mkdir()
    (folder / "firmware/app/__init__.py").write_text("def start(boot):\n    return boot\n")
    (folder / "boards" / BOARD).mkdir(parents=True)
    shutil.copy(ROOT / "boards" / BOARD / "board.toml", folder / "boards" / BOARD)
    (folder / "checkout").symlink_to(folder)
    first = build_release(
        Sources.checkout(folder), folder / "releases/1.0.0", board_names=[BOARD], version="1.0.0", sequence=1
    )
    more = {"board_names": [BOARD], "version": "1.1.0", "sequence": 2, "previous": [first]}
    build_release(Sources.checkout(folder), folder / "releases/1.1.0", **more)
    (folder / "table").write_bytes(b"table")
    words = ["data", "build", "calibration", "table", "--board", BOARD, "--version", "2", "--sequence", "2"]
    command = [str(Path(sys.executable).parent / "tidegate"), *words, "--out", "data/calibration-2"]
    subprocess.run(command, cwd=folder, check=True)
    store = trust_store.make([keys.load(folder / f"keys/{role}.jwk") for role in ("release", "root")])
    update = rotation.propose(rotation.succeed(store, [keys.new("command")]))
    (folder / "trust-2.update").write_bytes(update)


def test_the_page_on_signing_from_top_to_bottom(tmp_path: Path) -> None:
    place(tmp_path)
    page = (ROOT / "docs" / "signing.md").read_text()
    script = "set -euo pipefail\n" + "\n".join(re.findall(r"^```sh\n(.*?)^```$", page, re.DOTALL | re.MULTILINE))
    # The public key of openssl's key gets the name of one that is there already.
    script = script.replace("openssl genpkey", "rm keys/release.jwk.pub; openssl genpkey")
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "RELEASE_KEY": (tmp_path / "keys/release.jwk").read_text(),
    }
    command = ["timeout", "--kill-after=5", str(TIMEOUT_S), "bash", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert done.stdout.count(f"{BOARD}: signed releases/1.1.0/{BOARD}.suit") == 4
    assert done.stdout.count("releases/1.1.0 is what its sources make") == 2
    manifest = load_release(tmp_path / "releases/1.1.0")
    store = trust_store.make([keys.load(tmp_path / "keys/release.jwk.pub")])
    assert verify_release(manifest, store)[BOARD]["version"] == "1.1.0"
