"""A project's next release: its version, its sequence number, and what devices may have now."""

from __future__ import annotations

from pathlib import Path

from tidegate import names
from tidegate.errors import TidegateError
from tidegate.project.file import FILE, Project
from tidegate.release import Release, load_release, provenance
from tidegate.release.folder import INDEX

RELEASES = "releases"
MOST_PREVIOUS = 3  # earlier releases that patches are made from


def version_of(project: Project) -> str:
    """What tidegate.toml says, else what `git describe` does; TidegateError where neither says it."""
    if project.version:
        return project.version
    found = provenance.git(project.folder, "describe", "--tags", "--always", "--dirty")
    version = (found or b"").decode(errors="replace").strip().removeprefix("v")
    if not names.VERSION.fits(version):
        raise TidegateError(
            f"{FILE} states no version, and git describe says {version!r}" if version else f"{FILE} states no version",
            "Write version in [product], or make a git tag such as v1.0.0",
        )
    return version


def local_releases(project: Project) -> list[Release]:
    """The releases of this product in the project's folder releases/, newest first."""
    found = [load_release(path.parent) for path in _folders(project.folder / RELEASES)]
    mine = [release for release in found if (release.product, release.vendor) == (project.product, project.vendor)]
    return sorted(mine, key=lambda release: release.sequence, reverse=True)


def _folders(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"*/{INDEX}"))
