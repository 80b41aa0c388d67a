"""`tidegate delta`: patches between any two files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tidegate import delta as patches
from tidegate.cli._common import FILE, emit, facts, json_option, progress, say
from tidegate.files import read_limited, write_atomic
from tidegate.image import relink_module
from tidegate.release.inspect import patch_facts


@click.group()
def delta() -> None:
    """Make, apply and inspect patches, and make them smaller. The format: docs/patch-format.md."""


@delta.command(
    epilog="""\b
Examples:
  tidegate delta make app-1.0.img app-1.1.img app.patch"""
)
@click.argument("old", type=FILE)
@click.argument("new", type=FILE)
@click.argument("patch", type=FILE)
@json_option
def make(old: Path, new: Path, patch: Path, as_json: bool) -> None:
    """Write the patch that turns OLD into NEW to PATCH."""
    before = read_limited(old, patches.MAX_SIZE, "old file")
    after = read_limited(new, patches.MAX_SIZE, "new file")
    with progress("making", quiet=as_json) as tell:
        data = patches.make(before, after, progress=tell)
        tell(len(after), len(after), "packing the new file for comparison")
        packed = patches.packed_size(after)
    write_atomic(patch, data)
    codec = patches.CODECS[patches.read_header(data).codec]
    answer = {"patch": str(patch), "size": len(data), "codec": codec, "new_size": len(after), "new_packed_size": packed}

    def show(value: dict[str, Any]) -> None:
        say(f"{patch}: {len(data)} bytes ({codec}); the new file has {len(after)}, packed {packed}")
        if len(data) >= packed:
            say("The packed new file is no larger: this patch saves nothing.")

    emit(answer, as_json, show)


@delta.command(
    epilog="""\b
Examples:
  tidegate delta apply app-1.0.img app.patch app-1.1.img"""
)
@click.argument("old", type=FILE)
@click.argument("patch", type=FILE)
@click.argument("new", type=FILE)
@json_option
def apply(old: Path, patch: Path, new: Path, as_json: bool) -> None:
    """Apply PATCH to OLD and write NEW. A patch that does not fit exactly leaves no NEW."""
    before = read_limited(old, patches.MAX_SIZE, "old file")
    data = read_limited(patch, patches.MAX_SIZE, "patch")
    with progress("applying", quiet=as_json) as tell:
        after = patches.apply(before, data, tell)
    write_atomic(new, after)
    emit({"new": str(new), "size": len(after)}, as_json, lambda _: say(f"{new}: {len(after)} bytes"))


@delta.command(
    epilog="""\b
Examples:
  tidegate delta info app.patch"""
)
@click.argument("patch", type=FILE)
@json_option
def info(patch: Path, as_json: bool) -> None:
    """Show the files that PATCH is between, and what its operations do."""
    data = read_limited(patch, patches.MAX_SIZE, "patch")
    emit({"size": len(data), **patch_facts(data)}, as_json, facts)


@delta.command(
    epilog="""\b
Examples:
  tidegate delta relink old/app.mpy new/app.mpy
  tidegate delta relink old/app.mpy new/app.mpy --out image/app.mpy"""
)
@click.argument("old", metavar="OLD.mpy", type=FILE)
@click.argument("new", metavar="NEW.mpy", type=FILE)
@click.option("--out", type=FILE, help="Where to write. Default: NEW.mpy itself.")
@json_option
def relink(old: Path, new: Path, out: Path | None, as_json: bool) -> None:
    """Give the strings and constants of NEW.mpy the numbers they have in OLD.mpy, for a smaller patch.

    It stays the same program. Files with machine code are left as they are.
    """
    before = read_limited(old, patches.MAX_SIZE, "old file")
    after = read_limited(new, patches.MAX_SIZE, "new file")
    linked = relink_module(before, after)
    target = out or new
    write_atomic(target, linked.data)
    answer = {
        "file": str(target),
        "size": len(linked.data),
        "changed": linked.data != after,
        "machine_code": linked.native,
        "strings": linked.strings,
        "strings_kept": linked.strings_kept,
        "constants": linked.constants,
        "constants_kept": linked.constants_kept,
    }

    def show(value: dict[str, Any]) -> None:
        if linked.native:
            say(f"{target}: has machine code and stays as it is")
            return
        say(
            f"{target}: {linked.strings_kept} of {linked.strings} strings and {linked.constants_kept} of "
            f"{linked.constants} constants have the number they have in {old}"
        )

    emit(answer, as_json, show)
