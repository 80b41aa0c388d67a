"""Fetches published releases from a server, to link and diff a new one against where there is no other copy (CI)."""

from __future__ import annotations

import base64
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tidegate import json_text, manifest, names
from tidegate.errors import Refused, TidegateError
from tidegate.files import new_folder, write_atomic
from tidegate.image import romfs
from tidegate.release.folder import INDEX, Patch, Release, Target, check_identity, encode_index, load_release
from tidegate.trust.store import TrustStore

if TYPE_CHECKING:  # httpx is loaded by what talks to a server
    from tidegate.client.server import Server

Progress = Callable[[int, int, str], None]
_WHICH = "Is it a Tidegate server of this version?"


def fetch_releases(
    server: Server,
    out: Path,
    *,
    product: str,
    last: int = 1,
    before: int = 0,
    version: str | None = None,
    trust: TrustStore | None = None,
    progress: Progress = lambda done, total, what: None,
) -> list[Release]:
    """The newest `last` releases of `product` as folders OUT/1 (the newest), OUT/2, ... ready for --previous.

    Only those with a sequence number below `before`, if that is given, and of `version`. With `trust` the manifests'
    signatures are checked. Everything is compared with the digests in the manifests. OUT is made even when nothing
    was published yet, and not at all on any failure.
    """
    found = server.fetch_releases(product, last, before, version)
    _check_answer(found, product, last, before, version)
    if out.exists():
        raise TidegateError(f"{out} exists and is never changed", "Name a new folder or remove it")
    out.mkdir(parents=True)
    try:
        for number, entry in enumerate(found, 1):
            with new_folder(out / str(number), "p") as scratch:
                _write(server, scratch, entry, trust, progress)
        return [load_release(out / str(number)) for number in range(1, len(found) + 1)]
    except BaseException:
        shutil.rmtree(out, ignore_errors=True)
        raise


def _check_answer(found: Any, product: str, last: int, before: int, version: str | None) -> None:
    """Refuse an answer with other releases than those requested."""
    if not isinstance(found, list) or len(found) > last or not all(isinstance(entry, dict) for entry in found):
        raise TidegateError("the server's answer is not a list of releases", _WHICH)
    for entry in found:
        sequence = entry.get("sequence")
        if (
            entry.get("product") != product
            or version not in (None, entry.get("version"))
            or not isinstance(sequence, int)
            or (before and sequence >= before)
        ):
            raise TidegateError("the server's answer has a release that was not requested", _WHICH)


def _write(server: Server, scratch: Path, entry: dict[str, Any], trust: TrustStore | None, progress: Progress) -> None:
    try:
        product, vendor, version, sequence = (entry[name] for name in ("product", "vendor", "version", "sequence"))
        envelopes = {board: base64.b64decode(text, validate=True) for board, text in entry["envelopes"].items()}
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise TidegateError(f"the server's answer is not a release: {error!r}", _WHICH) from error
    if not envelopes:
        raise TidegateError(f"the server's answer has no manifest of {version}", _WHICH)
    check_identity(product, vendor, version, sequence)
    facts = {board: _manifest(board, data, trust) for board, data in envelopes.items()}
    sizes = {digest: size for one in facts.values() for digest, size in _payloads(one).items()}
    total, done = sum(sizes.values()), 0
    for digest, size in sizes.items():
        progress(done, total, digest)
        write_atomic(scratch / "p" / digest, server.payload(digest))
        done += size
    targets = {}
    for board, one in facts.items():
        class_id = manifest.class_id(manifest.vendor_id(vendor), product, board)
        if (one.sequence, one.version, one.class_id) != (sequence, version, class_id):
            raise Refused("malformed", f"{board}: the manifest is of another release than the server says")
        targets[board] = _target(board, one, entry)
        write_atomic(scratch / f"{board}.suit", envelopes[board])
    built_as = min(_built_as(scratch, target) for target in targets.values())
    said = next(iter(facts.values()))
    release = Release(scratch, product, vendor, version, sequence, targets, built_as, None, said.needs, said.restart_s)
    write_atomic(scratch / INDEX, encode_index(release))


def _manifest(board: str, envelope: bytes, trust: TrustStore | None) -> manifest.Manifest:
    names.BOARD.check(board)
    if trust is not None:
        return manifest.verify(envelope, trust)
    return manifest.decode(manifest.open_envelope(envelope).manifest)


def _payloads(facts: manifest.Manifest) -> dict[str, int]:
    return {facts.image.digest.hex(): facts.image.size, **{p.digest.hex(): p.size for p in facts.patches}}


def _target(board: str, facts: manifest.Manifest, entry: dict[str, Any]) -> Target:
    """The names of what patches start from are the server's word; they are only shown to people."""
    patches = []
    for patch in facts.patches:
        name, number = _base(entry.get("bases"), patch.base_digest.hex())
        patches.append(
            Patch(
                base=patch.base_digest.hex(),
                base_size=patch.base_size,
                base_version=name,
                base_sequence=number,
                size=patch.size,
                digest=patch.digest.hex(),
            )
        )
    digest = facts.image.digest.hex()
    return Target(board, digest, facts.image.size, tuple(patches), f"{board}.suit", facts.class_id.hex())


def _base(bases: Any, digest: str) -> tuple[str, int]:
    base = bases.get(digest) if isinstance(bases, dict) else None
    if not isinstance(base, dict) or not isinstance(base.get("sequence"), int):
        return "unknown", 0
    return str(base.get("version", "unknown")), base["sequence"]


def _built_as(scratch: Path, target: Target) -> int:
    """The sequence number in the image, which is older if an old image was published again."""
    image = (scratch / "p" / target.digest).read_bytes()
    try:
        return int(json_text.loads(romfs.files(image)["/release.json"])["sequence"])
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise Refused("image", f"the image for {target.board} has no readable /release.json") from error
