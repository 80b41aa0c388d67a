"""`tidegate data`: files that are updated without the image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tidegate.cli._common import (
    FILE,
    FOLDER,
    connect,
    emit,
    hold_option,
    json_option,
    product_option,
    say,
    server_options,
)
from tidegate.cli._signing import signing_options
from tidegate.files import read_limited
from tidegate.manifest import data_profile
from tidegate.names import DEFAULT_VENDOR
from tidegate.release import data_release
from tidegate.trust import keys
from tidegate.trust import store as stores


@click.group()
def data() -> None:
    """Update one file of an application (a calibration table, a model) without an image and without a restart."""


@data.command(
    epilog="""\b
Examples:
  tidegate data build calibration table.json --board qemu_mps2 --version 2 --sequence 2 --out data/calibration-2"""
)
@click.argument("name")
@click.argument("file", type=FILE)
@click.option("--board", "board_names", multiple=True, required=True, help="Board it is for; repeat it.")
@click.option("--version", required=True, help="For people, like 1.4.0.")
@click.option("--sequence", type=int, required=True, help="Decides what is newer: higher than any before of this NAME.")
@click.option("--out", type=FOLDER, required=True, help="New folder for the data release.")
@product_option("The devices' product.")
@click.option("--vendor", default=DEFAULT_VENDOR, show_default=True, help="The vendor's domain.")
@json_option
def build(
    name: str,
    file: Path,
    board_names: tuple[str, ...],
    version: str,
    sequence: int,
    out: Path,
    product: str,
    vendor: str,
    as_json: bool,
) -> None:
    """Make a data release of FILE for the component NAME, as the application calls it."""
    content = read_limited(file, data_profile.MAX_FILE, "data file")
    made = data_release.build(
        out, name, content, boards=board_names, version=version, sequence=sequence, product=product, vendor=vendor
    )
    emit(_facts(made), as_json, lambda _: say(f"{out}: {name} {version}, {made.size} bytes, unsigned"))


@data.command(
    epilog="""\b
Examples:
  tidegate data sign data/calibration-2 --key keys/release.jwk"""
)
@click.argument("folder", metavar="DIR", type=FOLDER)
@signing_options("Release")
@json_option
def sign(folder: Path, signers: list[keys.Key], as_json: bool) -> None:
    """Sign the data release in DIR: one manifest for each board."""
    envelopes = data_release.sign(data_release.load(folder), signers)
    signed = {board: {"manifest": f"{board}.suit", "size": len(data)} for board, data in envelopes.items()}

    def show(value: dict[str, Any]) -> None:
        for board, entry in value.items():
            say(f"{board}: signed {folder / entry['manifest']}, {entry['size']} bytes")

    emit(signed, as_json, show)


@data.command(
    epilog="""\b
Examples:
  tidegate data publish data/calibration-2 --trust trust.cbor --server http://127.0.0.1:8080
  tidegate data publish data/calibration-2 --hold
  tidegate rollout start calibration@2 --to all --waves 10%,100%"""
)
@click.argument("folder", metavar="DIR", type=FOLDER)
@click.option("--trust", "trust_file", type=FILE, help="Verify against this trust store before uploading.")
@hold_option
@server_options
@json_option
def publish(
    folder: Path, trust_file: Path | None, hold: bool, server: str, token_file: Path | None, as_json: bool
) -> None:
    """Upload the signed data release in DIR; the server offers it to its boards. Repeating it is harmless.

    With --hold only `tidegate rollout start NAME@VERSION` offers it, in waves. Publish it once more without, and all
    boards are offered it.
    """
    found = data_release.load(folder)
    if trust_file:
        data_release.verify(found, stores.load(trust_file))
    with connect(server, token_file) as api:
        answer = data_release.publish(found, api, hold=hold)
    held = f", for: tidegate rollout start {found.name}@{found.version}" if hold else ""
    emit(answer, as_json, lambda _: say(f"{found.name} {found.version} is published on {server}{held}"))


def _facts(release: data_release.DataRelease) -> dict[str, Any]:
    return {**release.facts(), "folder": str(release.folder)}
