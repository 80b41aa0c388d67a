"""`tidegate release`: from sources to a published release."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tidegate import project
from tidegate.cli._common import (
    ANY_PATH,
    FILE,
    FOLDER,
    emit,
    facts,
    json_option,
    profile_option,
    progress,
    say,
    source_option,
    yes_option,
)
from tidegate.cli._project_release import release_project
from tidegate.cli._release_server import VERBS
from tidegate.cli._signing import signing_options
from tidegate.manifest import Needs
from tidegate.names import DEFAULT_PRODUCT, DEFAULT_VENDOR
from tidegate.release import (
    build_release,
    inspect_file,
    load_release,
    reproduce_release,
    rollback_release,
    sbom,
    sign_release,
    verify_release,
)
from tidegate.rollout import durations
from tidegate.trust import keys
from tidegate.trust import store as stores

_PREVIOUS = click.option(
    "--previous", "previous_dirs", type=FOLDER, multiple=True, help="An earlier release; repeat it, newest first."
)


@click.group(
    invoke_without_command=True,
    epilog="""\b
Examples:
  tidegate release
  tidegate release --version 1.1.0 --publish
  tidegate release verify releases/1.1.0 --trust trust.cbor""",
)
@click.option("--version", help="For people, like 1.4.0. Default: of tidegate.toml, else what git describe says.")
@click.option("--sequence", type=click.IntRange(1), help="Default: one more than the last release's.")
@click.option("--key", "key_file", type=FILE, help="Release key. Default: of [keys] in tidegate.toml.")
@click.option("--publish", "publishes", is_flag=True, help="Publish it, too.")
@yes_option
@click.option("--server", envvar="TIDEGATE_SERVER", show_envvar=True, metavar="URL", help="Default: of [server].")
@click.option(
    "--token-file",
    envvar="TIDEGATE_TOKEN_FILE",
    type=FILE,
    show_envvar=True,
    help="File with the bearer token; with it earlier releases are fetched from the server.",
)
@profile_option
@json_option
@click.pass_context
def release(
    context: click.Context,
    version: str | None,
    sequence: int | None,
    key_file: Path | None,
    publishes: bool,
    yes: bool,
    server: str | None,
    token_file: Path | None,
    as_json: bool,
) -> None:
    """Build, sign, verify, inspect, publish and fetch releases.

    Without a command: build the next release of the project around here into releases/VERSION, sign it, verify it.
    """
    if context.invoked_subcommand is None:
        release_project(
            version=version,
            sequence=sequence,
            key_file=key_file,
            publish=publishes,
            yes=yes,
            server=server,
            token_file=token_file,
            as_json=as_json,
        )


@release.command(
    epilog="""\b
Examples:
  tidegate release build --board qemu_mps2 --version 1.0.0 --sequence 1 --out releases/1.0.0
  tidegate release build --board qemu_mps2 --version 1.1.0 --sequence 2 \\
      --previous releases/1.0.0 --out releases/1.1.0"""
)
@click.option("--board", "board_names", multiple=True, required=True, help="Board to build for; repeat it.")
@click.option("--version", required=True, help="For people, like 1.4.0.")
@click.option("--sequence", type=int, required=True, help="Decides what is newer: higher than any before.")
@_PREVIOUS
@click.option("--needs-sequence", type=int, default=0, help="Devices must run this release or a newer one before it.")
@click.option("--needs-micropython", default="", metavar="VERSION", help="Devices must have it, or a newer one: 1.26.")
@click.option("--restart-within", metavar="TIME", help="Do not wait longer for the application to be ready: 2h.")
@click.option("--out", type=FOLDER, required=True, help="New folder for the release.")
@click.option("--product", help=f"Default: that of --previous, else of the project, else {DEFAULT_PRODUCT}.")
@click.option("--vendor", help=f"The vendor's domain. Default: as --product, else {DEFAULT_VENDOR}.")
@source_option()
@json_option
def build(
    board_names: tuple[str, ...],
    version: str,
    sequence: int,
    previous_dirs: tuple[Path, ...],
    needs_sequence: int,
    needs_micropython: str,
    restart_within: str | None,
    out: Path,
    product: str | None,
    vendor: str | None,
    source: Path | None,
    as_json: bool,
) -> None:
    """Compile the firmware, pack it as an image for each board, and make patches from earlier releases."""
    previous = [load_release(folder) for folder in previous_dirs]
    first = previous[0] if previous else None
    sources = project.find_sources() if source is None else project.sources_in(source)
    own = None if sources.is_checkout else project.load(sources.folder)
    notes: list[str] = []
    with progress("building", quiet=as_json) as tell:
        built = build_release(
            sources,
            out,
            board_names=board_names,
            version=version,
            sequence=sequence,
            previous=previous,
            product=product or (first.product if first else own.product if own else DEFAULT_PRODUCT),
            vendor=vendor or (first.vendor if first else own.vendor if own else DEFAULT_VENDOR),
            needs=Needs(needs_sequence, needs_micropython),
            restart_s=None if restart_within is None else durations.parse(restart_within, "--restart-within"),
            progress=tell,
            note=notes.append,
        )

    def show(_: dict[str, Any]) -> None:
        say(f"sources: {sources.describe()}")
        for line in notes:
            say(line)
        say(f"{out}: {built.product} {built.version}, unsigned")

    emit(inspect_file(built.folder), as_json, show)


@release.command(
    epilog="""\b
Examples:
  tidegate release rollback releases/1.0.0 --sequence 3 --previous releases/1.1.0 --out releases/1.0.0-again
  tidegate release sign releases/1.0.0-again --key keys/release.jwk
  tidegate release publish releases/1.0.0-again"""
)
@click.argument("old", metavar="OLD_DIR", type=FOLDER)
@click.option("--sequence", type=int, required=True, help="Higher than any before, although the image is old.")
@click.option(
    "--previous", "previous_dirs", type=FOLDER, multiple=True, help="What devices run now, for patches; newest first."
)
@click.option("--out", type=FOLDER, required=True, help="New folder for the release.")
@json_option
def rollback(old: Path, sequence: int, previous_dirs: tuple[Path, ...], out: Path, as_json: bool) -> None:
    """Make a release of the old images in OLD_DIR, byte for byte, under a newer sequence number.

    Devices refuse anything older than what they confirmed. So to go back, publish the old image under a new number,
    signed like any release; devices then refuse the releases in between.
    """
    notes: list[str] = []
    made = rollback_release(
        load_release(old),
        out,
        sequence=sequence,
        previous=[load_release(folder) for folder in previous_dirs],
        note=notes.append,
    )

    def show(_: dict[str, Any]) -> None:
        for line in notes:
            say(line)
        say(f"{out}: {made.product} {made.version} again, as sequence {sequence}, unsigned")

    emit(inspect_file(made.folder), as_json, show)


@release.command(
    epilog="""\b
Examples:
  tidegate release sign releases/1.1.0 --key keys/release.jwk
  tidegate release sign releases/1.1.0 --signer './sign-with-token.sh' --public keys/release.jwk.pub
  python tools/sign_release.py releases/1.1.0 --key keys/release.jwk"""
)
@click.argument("folder", metavar="DIR", type=FOLDER)
@signing_options("Release")
@json_option
def sign(folder: Path, signers: list[keys.Key], as_json: bool) -> None:
    """Sign the release in DIR: one manifest for each board, and its bill of materials. The key stays where it is.

    For a key that is not in a file, a program signs: --signer 'COMMAND' gets what to sign on its standard input and
    writes the signature to its standard output (docs/signing.md). It is verified before anything is written.
    """
    found = load_release(folder)
    envelopes = sign_release(found, signers)
    sbom.sign(found, signers)
    signed = {
        board: {"manifest": found.targets[board].manifest, "size": len(data)} for board, data in envelopes.items()
    }

    def show(value: dict[str, Any]) -> None:
        for board, entry in value.items():
            say(f"{board}: signed {folder / entry['manifest']}, {entry['size']} bytes")

    emit(signed, as_json, show)


@release.command(
    epilog="""\b
Examples:
  tidegate release reproduce releases/1.1.0
  tidegate release reproduce releases/1.1.0 --source checkout --previous releases/1.0.0"""
)
@click.argument("folder", metavar="DIR", type=FOLDER)
@click.option("--source", type=FOLDER, help="Build from this folder as it is, not from the release's commit.")
@_PREVIOUS
@json_option
def reproduce(folder: Path, source: Path | None, previous_dirs: tuple[Path, ...], as_json: bool) -> None:
    """Build the release in DIR again from its sources, and compare images and patches byte for byte.

    release.json names the commit; its files are taken from the git repository around here. Images to start from are
    looked for in the folders beside DIR and in --previous.
    """
    with progress("building", quiet=as_json) as tell:
        found = reproduce_release(
            load_release(folder),
            project.find_sources() if source is None else project.sources_in(source),
            as_it_is=source is not None,
            previous=[load_release(path) for path in previous_dirs],
            progress=tell,
            note=(lambda text: None) if as_json else say,
        )
    emit(found, as_json, lambda _: say(f"{folder} is what its sources make"))


@release.command(
    epilog="""\b
Examples:
  tidegate release verify releases/1.1.0 --trust trust.cbor --previous releases/1.0.0"""
)
@click.argument("folder", metavar="DIR", type=FOLDER)
@click.option("--trust", "trust_file", type=FILE, required=True, help="The trust store of the boards.")
@_PREVIOUS
@json_option
def verify(folder: Path, trust_file: Path, previous_dirs: tuple[Path, ...], as_json: bool) -> None:
    """Check the release in DIR as devices and the server will: signatures, digests, images, patches, sequence."""
    previous = [load_release(path) for path in previous_dirs]
    checked = verify_release(load_release(folder), stores.load(trust_file), previous)

    def show(value: dict[str, Any]) -> None:
        for board, entry in value.items():
            say(
                f"{board}: {entry['version']} (sequence {entry['sequence']}) is good, "
                f"image {entry['image']['size']} bytes"
            )
            for patch in entry["patches"]:
                how = "gives the image" if patch["applied"] else "well formed; name its base with --previous to try it"
                say(f"  patch from {patch['base_version']}, {patch['size']} bytes: {how}")

    emit(checked, as_json, show)


@release.command(
    epilog="""\b
Examples:
  tidegate release inspect releases/1.1.0
  tidegate release inspect releases/1.1.0/qemu_mps2.suit"""
)
@click.argument("file", type=ANY_PATH)
@json_option
def inspect(file: Path, as_json: bool) -> None:
    """Show what FILE is and contains: a release folder, manifest, image, patch, trust store or command."""
    emit(inspect_file(file), as_json, facts)


for _verb in VERBS:
    release.add_command(_verb)
