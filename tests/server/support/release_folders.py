"""Releases of tests/server/support/signed_releases.py as the folders that the tools read and write."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from signed_releases import BOARD, PRODUCT, VENDOR, digest

from tidegate.release import Patch, Release, Target
from tidegate.release.folder import INDEX, encode_index


def folder_of(made: dict[str, Any], path: Path, base: dict[str, Any] | None = None) -> Path:
    """A release made by `releases.make` as a folder."""
    (path / "p").mkdir(parents=True)
    for name, data in made["payloads"].items():
        (path / "p" / name).write_bytes(data)
    patches = []
    if base is not None:
        name, data = next(item for item in made["payloads"].items() if item[1] != made["image"])
        old = base["image"]
        patches = [Patch(digest(old), len(old), base["version"], base["sequence"], len(data), name)]
    (path / f"{BOARD}.suit").write_bytes(made["envelopes"][BOARD])
    image = made["image"]
    target = Target(BOARD, digest(image), len(image), tuple(patches), f"{BOARD}.suit", "00" * 16)
    release = Release(path, PRODUCT, VENDOR, made["version"], made["sequence"], {BOARD: target})
    (path / INDEX).write_bytes(encode_index(release))
    return path
