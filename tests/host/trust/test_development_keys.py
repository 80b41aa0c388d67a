"""Keys that `tidegate dev` makes are marked, and no store for boards in the field takes one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from tidegate.errors import TidegateError
from tidegate.trust import keys, rotation, store

Cli = Callable[..., Result]


def test_the_mark_stays_in_both_files(tmp_path: Path) -> None:
    made = keys.new("release", development=True)
    public = keys.save(made, tmp_path / "release.jwk")
    assert keys.load(tmp_path / "release.jwk").development and keys.load(public).development
    assert made.public_only().development
    keys.save(keys.new("release"), tmp_path / "other.jwk")
    assert not keys.load(tmp_path / "other.jwk").development


def test_stores_of_real_boards_refuse_them(tmp_path: Path, cli: Cli) -> None:
    real = {role: keys.new(role) for role in ("release", "command", "root")}
    marked = keys.new("release", development=True)
    with pytest.raises(TidegateError, match="is a development key"):
        store.make([real["root"], marked])
    with pytest.raises(TidegateError, match="is a development key"):
        rotation.succeed(store.make(real.values()), add=[marked])
    assert store.make([real["root"], marked], development=True).find(marked.kid, "release")
    keys.save(marked, tmp_path / "dev.jwk")
    keys.save(real["root"], tmp_path / "root.jwk")
    done = cli("trust", "new", "--out", tmp_path / "t.cbor", tmp_path / "root.jwk", tmp_path / "dev.jwk")
    assert done.exit_code == 1 and "development key" in done.stderr and "tidegate key new" in done.stderr
    assert not (tmp_path / "t.cbor").exists()
