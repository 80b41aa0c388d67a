"""Verbs of `tidegate release` that speak with the server: publish, fetch and sbom."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import click

from tidegate import json_text
from tidegate.cli._common import (
    FILE,
    FOLDER,
    complain,
    confirm,
    connect,
    emit,
    json_option,
    product_option,
    progress,
    say,
    server_options,
    yes_option,
)
from tidegate.cli._plan_table import show_plan
from tidegate.errors import TidegateError
from tidegate.files import write_atomic
from tidegate.release import Release, fetch_releases, load_release, plan_release, publish_release, sbom, verify_release
from tidegate.trust import store as stores


@click.command(
    epilog="""\b
Examples:
  tidegate release publish releases/1.1.0
  tidegate release publish releases/1.1.0 --channel candidate --yes --token-file publish.token"""
)
@click.argument("folder", metavar="DIR", type=FOLDER)
@click.option("--channel", help="Offer it to groups that follow this channel. Default: stable.")
@click.option("--trust", "trust_file", type=FILE, help="Verify against this trust store before uploading.")
@yes_option
@server_options
@json_option
def publish(
    folder: Path,
    channel: str | None,
    trust_file: Path | None,
    yes: bool,
    server: str,
    token_file: Path | None,
    as_json: bool,
) -> None:
    """Show what devices would get, ask, upload the signed release in DIR; the server offers it to them.

    Repeating it is harmless, and continues where it was cut off: what the server has is not sent again.
    """
    found = load_release(folder)
    if trust_file:
        verify_release(found, stores.load(trust_file))
    with connect(server, token_file) as api:
        plan = plan_release(found, api, channel)
        if not as_json:
            _show_plan(found, plan)
        if not plan["published"]:
            confirm(f"Publish {found.product} {found.version} on {server}?", yes, as_json)
        with progress("uploading", quiet=as_json) as tell:
            answer = publish_release(found, api, tell, channel)

    def show(value: dict[str, Any]) -> None:
        for warning in value["warnings"]:
            say(f"Warning: {warning}")
        again = "" if value["published"] else "; it was already"
        say(f"{found.product} {found.version} is published on {server}, channel {value['channel']}{again}")

    emit({**answer, "plan": plan}, as_json, show)


def _show_plan(found: Release, plan: dict[str, Any]) -> None:
    for board, target in found.targets.items():
        patches = ", ".join(f"from {patch.base_version} {patch.size} bytes" for patch in target.patches)
        say(f"{board}: image {target.size} bytes; patches: {patches or 'none'}")
    payloads = found.payload_sizes
    missing = sum(payloads.get(digest, 0) for digest in plan["missing"])
    say(f"to upload: {len(plan['missing'])} of {len(payloads)} payloads, {missing} bytes")
    show_plan(plan["devices"], found.product)


@click.command(
    epilog="""\b
Examples:
  tidegate release fetch --out previous --trust trust.cbor
  tidegate release fetch --out previous --last 3 --before 57"""
)
@click.option(
    "--out", type=FOLDER, required=True, help="New folder; the releases come into OUT/1 (the newest), OUT/2..."
)
@product_option("Of this product.")
@click.option("--last", type=click.IntRange(1, 8), default=1, show_default=True, help="How many, newest first.")
@click.option("--before", type=click.IntRange(1), help="Only those with a lower sequence number.")
@click.option("--version", help="Only this version.")
@click.option("--trust", "trust_file", type=FILE, help="Check their signatures against this trust store.")
@server_options
@json_option
def fetch(
    out: Path,
    product: str,
    last: int,
    before: int | None,
    version: str | None,
    trust_file: Path | None,
    server: str,
    token_file: Path | None,
    as_json: bool,
) -> None:
    """Download published releases, to build the next one against: `release build --previous OUT/1`.

    Needs a token with the scope publish. If nothing was published yet, OUT is an empty folder.
    """
    trust = stores.load(trust_file) if trust_file else None
    with connect(server, token_file) as api, progress("downloading", quiet=as_json) as tell:
        found = fetch_releases(
            api,
            out,
            product=product,
            last=last,
            before=before or 0,
            version=version,
            trust=trust,
            progress=tell,
        )
    if trust is None and found and not as_json:
        complain("Who signed these was not checked: name --trust before you build on them or sign them again.")
    answer = [{"folder": str(one.folder), "version": one.version, "sequence": one.sequence} for one in found]

    def show(value: list[dict[str, Any]]) -> None:
        for one in value:
            say(f"{one['folder']}: {product} {one['version']}, sequence {one['sequence']}")
        if not value:
            say(f"no such release of {product} is published on {server}; {out} is empty")

    emit(answer, as_json, show)


@click.command(
    "sbom",
    epilog="""\b
Examples:
  tidegate release sbom 1.1.0 --trust trust.cbor --out 1.1.0.cdx.json
  tidegate release sbom 1.1.0 --folder releases/1.1.0""",
)
@click.argument("version")
@click.option("--folder", type=FOLDER, help="Of the release in this folder; no server is asked.")
@click.option("--trust", "trust_file", type=FILE, help="Verify by this trust store that the release keys signed it.")
@click.option("--out", type=FILE, help="Write it there instead of showing it.")
@product_option("The product it is of.")
@server_options
@json_option
def sbom_(
    version: str,
    folder: Path | None,
    trust_file: Path | None,
    out: Path | None,
    product: str,
    server: str,
    token_file: Path | None,
    as_json: bool,
) -> None:
    """Show the bill of materials (SBOM) of release VERSION, in CycloneDX JSON: what is in its images, file by file."""
    if folder is not None:
        found = load_release(folder)
        if found.version != version:
            raise TidegateError(f"{folder} holds {found.version}, not {version}", "Name the version that is in it")
        bill, of = sbom.stored(found), (found.product, found.version, found.sequence)
        if bill is None:
            raise TidegateError(f"{folder} has no SBOM", f"Sign it: tidegate release sign {folder} --key FILE")
    else:
        with connect(server, token_file) as api:
            answer = api.sbom(product, version)
        bill = base64.b64decode(answer["document"]), base64.b64decode(answer["signature"])
        of = (product, version, answer["sequence"])
    if trust_file is not None:
        sbom.verify(*bill, of, stores.load(trust_file))
    facts_of = {"product": of[0], "version": of[1], "sequence": of[2]}
    if out is not None:
        write_atomic(out, bill[0])
        emit({**facts_of, "file": str(out)}, as_json, lambda value: say(f"SBOM of {of[1]}: {out}"))
        return
    try:
        content = json_text.loads(bill[0])
    except (ValueError, RecursionError) as error:
        raise TidegateError(
            f"the SBOM is not JSON: {error}", "Write it to a file with --out, and look at it"
        ) from error
    emit({**facts_of, "sbom": content} if as_json else content, as_json, lambda _: say(bill[0].decode(), newline=False))


VERBS = (publish, fetch, sbom_)
