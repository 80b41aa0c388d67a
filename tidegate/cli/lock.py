"""`tidegate lock`: pins the libraries of others that a project requires."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tidegate import libraries
from tidegate import project as projects
from tidegate.cli._common import emit, json_option, progress, rows, say
from tidegate.libraries import LOCK


@click.command(
    epilog="""\b
Examples:
  tidegate lock
  tidegate lock --update
  tidegate lock --check"""
)
@click.option("--update", is_flag=True, help="Look everything up anew, also what is pinned already.")
@click.option("--check", is_flag=True, help="Change and fetch nothing; exit code 1 if the lock does not fit.")
@click.option("--index", metavar="URL", help="Index to look names up in. Default: that of tidegate.toml, else mip's.")
@json_option
def lock(update: bool, check: bool, index: str | None, as_json: bool) -> None:
    """Find the libraries that tidegate.toml requires, as mip does, and pin each file by its SHA-256 in tidegate.lock.

    What is pinned already stays as it is. Builds take what is pinned: from the cache in .tidegate, and what is not
    there from its address.
    """
    if check and update:
        raise click.UsageError("--check changes nothing, --update looks everything up anew: name one")
    if index is not None and not index.startswith(("https://", "http://")):
        raise click.UsageError("--index is an address, https://...")
    sources = projects.find_project().sources
    changed = False
    if not check:
        with progress("looking up", quiet=as_json) as tell:
            changed = libraries.lock(sources, index, update, tell)
    found = [
        {
            "require": entry.require,
            "package": package.name,
            "version": package.version or None,
            "files": len(package.files),
            "bytes": sum(file.size for file in package.files),
        }
        for entry in libraries.fitting(sources)
        for package in entry.packages
    ]
    answer: dict[str, Any] = {"lock": str(sources.folder / LOCK), "changed": changed, "packages": found}

    def show(value: dict[str, Any]) -> None:
        columns = {"require": "REQUIRED", "package": "PACKAGE", "version": "VERSION", "files": "FILES"}
        rows(value["packages"], columns | {"bytes": "BYTES"}, "Nothing that is fetched is required.")
        say(_outcome(Path(value["lock"]), changed))

    emit(answer, as_json, show)


def _outcome(lock: Path, changed: bool) -> str:
    if not lock.exists():
        return f"no {lock.name} is needed" + (", and it is gone" if changed else "")
    return f"{lock}: {'written anew' if changed else 'as it was'}"
