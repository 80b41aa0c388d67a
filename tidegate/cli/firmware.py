"""`tidegate firmware`: the MicroPython that a board runs, where this project builds it."""

from __future__ import annotations

import hashlib
import shlex
import subprocess
from typing import Any

import click

from tidegate import boards, library
from tidegate.cli._common import emit, json_option, say
from tidegate.errors import TidegateError


@click.group()
def firmware() -> None:
    """Build MicroPython for boards."""


@firmware.command(
    epilog="""\b
Examples:
  tidegate firmware build --board rpi_pico
  tidegate firmware build --board rpi_pico --frozen
  tidegate firmware build --board unix --json"""
)
@click.option("--board", "name", required=True, help="The board.")
@click.option("--frozen", is_flag=True, help="With the agent in it (`tidegate docs image`).")
@json_option
def build(name: str, frozen: bool, as_json: bool) -> None:
    """Build a board's MicroPython, in a checkout: minutes the first time, nothing when it is up to date."""
    root = library.folder()
    board = boards.load(root, name)
    facts = board.settings.get("firmware")
    if not facts:
        built = [one for one in boards.names(root) if "firmware" in boards.load(root, one).settings]
        raise TidegateError(
            f"this project does not build MicroPython for {name}",
            f"boards/{name}/README.md says where to get it; built here: {', '.join(built)}",
        )
    kind = "frozen_" if frozen else ""
    if f"{kind}build" not in facts:
        raise TidegateError(
            f"this project does not build a MicroPython for {name} that holds the agent", "Build it without --frozen"
        )
    command = facts[f"{kind}build"]
    if not (board.folder / "Makefile").is_file():
        raise TidegateError(
            f"an installed Tidegate cannot build MicroPython for {name}", "Build it in a checkout of Tidegate"
        )
    try:
        done = subprocess.run(
            shlex.split(command), cwd=root, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
    except FileNotFoundError as error:
        raise TidegateError(f"{error.filename} is not installed", f"apt-get install {error.filename}") from error
    if done.returncode:
        raise TidegateError(
            f"`{command}` failed with exit code {done.returncode}:\n{done.stdout[-3000:]}",
            f"boards/{name}/README.md says what it needs",
        )
    path = root / facts[f"{kind}file"]
    data = path.read_bytes()
    found: dict[str, Any] = {
        "board": name,
        "file": str(path),
        "size": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
    }

    if frozen:
        found["frozen"] = str(root / facts["frozen_list"])

    def show(_: Any) -> None:
        say(f"{path}: {len(data)} bytes, SHA-256 {found['sha256']}")
        if frozen:
            say(f"{found['frozen']}: what it holds, for `frozen` in [image] of tidegate.toml")

    emit(found, as_json, show)
