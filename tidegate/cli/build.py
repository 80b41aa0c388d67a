"""`tidegate build` and `tidegate size`: the images of the project around here, and what is in them."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from tidegate import project as projects
from tidegate.cli._common import FOLDER, emit, json_option, progress, say
from tidegate.dev import memory
from tidegate.dev.boards import EMULATED
from tidegate.errors import TidegateError
from tidegate.image import Identity, build_image, contents
from tidegate.project import Project, types, versions
from tidegate.release import Release, build_release, inspect_file

_SEQUENCE = 1  # of an image that is only looked at


@click.command(
    epilog="""\b
Examples:
  tidegate build
  tidegate build --board qemu_mps2 --json"""
)
@click.option("--board", "board_names", multiple=True, help="Only for this board; repeat it. Default: all of them.")
@click.option("--out", type=FOLDER, help="Folder for the images, replaced. Default: .tidegate/build.")
@json_option
def build(board_names: tuple[str, ...], out: Path | None, as_json: bool) -> None:
    """Build the project's images, unsigned, to see that they build. `tidegate release` makes those for devices."""
    project = projects.find_project()
    types.refresh(project.folder)
    out = out or project.work / "build"
    previous = versions.local_releases(project)[: versions.MOST_PREVIOUS]
    notes: list[str] = []
    fresh = out.with_name(out.name + ".new")
    shutil.rmtree(fresh, ignore_errors=True)
    with progress("building", quiet=as_json) as tell:
        made = build_release(
            project.sources,
            fresh,
            board_names=_boards(project, board_names),
            version=versions.version_of(project),
            sequence=previous[0].sequence + 1 if previous else _SEQUENCE,
            previous=previous,
            product=project.product,
            vendor=project.vendor,
            progress=tell,
            note=notes.append,
        )
    if (out / "release.json").exists():
        shutil.rmtree(out)
    fresh.replace(out)

    def show(_: Any) -> None:
        say(f"sources: {project.sources.describe()}")
        for line in notes:
            say(line)
        say(f"{out}: {made.product} {made.version}, unsigned")

    emit(inspect_file(out), as_json, show)


@click.command(
    epilog="""\b
Examples:
  tidegate size
  tidegate size --board qemu_mps2 --all
  tidegate size --ram"""
)
@click.option("--board", "board_name", help="The board. Default: the first of tidegate.toml.")
@click.option("--all", "every", is_flag=True, help="Show every file, not only folders.")
@click.option("--ram", is_flag=True, help="Also measure the heap at rest, on the emulated board (10 s, once an image).")
@json_option
def size(board_name: str | None, every: bool, ram: bool, as_json: bool) -> None:
    """Show what the project's image is made of, in bytes, and the change against the last release in releases/.

    With --ram also what lives in the heap once the application runs and waits, after a collection, and the largest
    free piece: an image is flashed to the emulated board and runs there without a server. The last release is measured
    in the same way. Figures are remembered in .tidegate/memory for each image and firmware.
    """
    project = projects.find_project()
    board = project.sources.board(_boards(project, (board_name,) if board_name else ())[0])
    if ram and board.name != EMULATED:
        raise TidegateError(
            f"memory is measured on the emulated board, and this image is for {board.name}",
            f"Give --board {EMULATED} with --ram, or leave out --ram",
        )
    with progress("building", quiet=as_json) as tell:
        identity = Identity(project.product, versions.version_of(project), _SEQUENCE, board.name)
        image = build_image(project.sources, board, identity, tell)
    last = next((release for release in versions.local_releases(project) if board.name in release.targets), None)
    before = last.payload(last.targets[board.name].digest) if last else None
    found: dict[str, Any] = {
        "board": board.name,
        "image": len(image),
        "slot": board.slot_size,
        "against": last.version if last else None,
        "change": len(image) - len(before) if before is not None else None,
        "parts": {
            path: {"bytes": count, "change": change}
            for path, (count, change) in contents.compare(image, before).items()
        },
    }

    if ram:
        with progress("measuring the heap on the emulated board", quiet=as_json):
            found["ram"] = _memory(project, image, identity, last)

    def show(value: dict[str, Any]) -> None:
        room = f", of a slot of {value['slot']}" if value["slot"] else ""
        change = f", {value['change']:+d} against {value['against']}" if last else ""
        say(f"{board.name}: image of {value['image']} bytes{room}{change}")
        for path, entry in value["parts"].items():
            depth = path.rstrip("/").count("/")
            if depth > 1 and not every:
                continue
            name = "  " * depth + path.rstrip("/").rpartition("/")[2] + ("/" if path.endswith("/") else "")
            more = f"{entry['change']:+9d}" if entry["change"] else ""
            say(f"{entry['bytes']:9d}{more:>9}  {name}")
        if ram:
            _show_memory(value["ram"])

    emit(found, as_json, show)


def _memory(project: Project, image: bytes, identity: Identity, last: Release | None) -> dict[str, Any]:
    """The heap at rest with this image, and the change of what lives there since the last release."""

    def made(folder: Path) -> Release:
        return build_release(
            project.sources,
            folder,
            board_names=[EMULATED],
            version=identity.version,
            sequence=_SEQUENCE,
            product=project.product,
            vendor=project.vendor,
        )

    found = memory.at_rest(project, hashlib.sha256(image).hexdigest(), made)
    before = memory.at_rest(project, last.targets[EMULATED].digest, lambda _: last) if last else None
    return {**asdict(found), "change": found.live - before.live if before else None}


def _show_memory(value: dict[str, Any]) -> None:
    change = f"{value['change']:+9d}" if value["change"] else ""
    say("heap at rest, on the emulated board:")
    say(f"{value['live']:9d}{change:>9}  live")
    say(f"{value['free']:9d}{'':9}  free")
    say(f"{value['largest']:9d}{'':9}  largest free piece")


def _boards(project: Project, names: tuple[str, ...]) -> tuple[str, ...]:
    """The boards named, each of which there must be; without names the project's own."""
    for name in names:
        project.sources.board(name)
    return names or project.boards
