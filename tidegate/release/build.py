"""Builds a release: one image for each board, and patches from earlier releases where they save bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from tidegate import boards, delta, manifest
from tidegate.errors import TidegateError
from tidegate.files import new_folder, write_atomic
from tidegate.image import Identity, Progress, build_image
from tidegate.image.build import native_modules
from tidegate.names import DEFAULT_PRODUCT, DEFAULT_VENDOR
from tidegate.release import provenance
from tidegate.release.folder import INDEX, Patch, Release, Target, check_identity, encode_index, load_release
from tidegate.sources import Sources

Note = Callable[[str], None]
NOTHING = manifest.Needs()


def build_release(
    sources: Sources,
    out: Path,
    *,
    board_names: Sequence[str],
    version: str,
    sequence: int,
    previous: Sequence[Release] = (),
    product: str = DEFAULT_PRODUCT,
    vendor: str = DEFAULT_VENDOR,
    needs: manifest.Needs = NOTHING,
    restart_s: int | None = None,
    progress: Progress | None = None,
    note: Note = lambda text: None,
) -> Release:
    """Build the release `version` from `sources` into the new folder `out`.

    `previous` are releases to make patches from, newest first; the first is the predecessor whose numbering the
    new images keep. `needs` is what a device must have before it takes the release, `restart_s` how long the restart
    into it may wait for the application. `note` is called with a line for each result. On any failure `out` does not
    exist. The same sources and predecessors give the same bytes.
    """
    # It brings httpx, which a machine that only signs does not have.
    from tidegate.image.missing import check as check_imports

    check_identity(product, vendor, version, sequence)
    manifest.check_needs(needs, sequence)
    manifest.check_restart(restart_s)
    targets = [sources.board(name) for name in dict.fromkeys(board_names)]
    check_previous(previous, product, vendor, sequence)
    with new_folder(out, "p") as scratch:
        built = {}
        for board in targets:
            identity = Identity(product, version, sequence, board.name)
            last = previous[0].targets.get(board.name) if previous else None
            image = build_image(sources, board, identity, progress, previous[0].payload(last.digest) if last else None)
            check_imports(sources, board)  # once the libraries are there; what was released is reproduced without it
            target = _target(scratch, board, image, identity, vendor, previous, note)
            before = last.digest if last else None
            if board.native:
                native = [path.stem for path in native_modules(sources, board)]
                missing = f"none for {board.arch}; in a checkout, python tools/native.py builds them"
                note(f"{board.name}: native modules: {', '.join(native) or missing}")
            built[board.name] = replace(target, predecessor=before, sources=provenance.digest(sources, board))
        origin, said = provenance.Origin.of(sources), (product, vendor, version, sequence)
        release = Release(scratch, *said, built, origin=origin, needs=needs, restart_s=restart_s)
        write_atomic(scratch / INDEX, encode_index(release))
    return load_release(out)


def _target(
    scratch: Path,
    board: boards.Board,
    image: bytes,
    identity: Identity,
    vendor: str,
    previous: Sequence[Release],
    note: Note,
) -> Target:
    board.check_image(len(image))
    return make_target(scratch, board.name, image, (identity.product, vendor), previous, note)


def make_target(
    scratch: Path, board: str, image: bytes, owner: tuple[str, str], previous: Sequence[Release], note: Note
) -> Target:
    """Store `image` and the patches to it from `previous` in the folder `scratch`; `owner`: product and vendor."""
    digest = _store(scratch, image)
    packed = delta.packed_size(image)
    note(f"{board}: image of {len(image)} bytes, {packed} packed")
    patches: dict[str, Patch] = {}
    for base in previous:
        if board not in base.targets:
            note(f"{board}: no patch from {base.version}, which has no image for this board")
            continue
        if len(patches) == manifest.MAX_PATCHES:
            note(f"{board}: no patch from {base.version}, a manifest carries at most {manifest.MAX_PATCHES}")
            continue
        old = base.targets[board]
        if old.digest == digest or old.digest in patches:
            note(f"{board}: no patch from {base.version}, whose image another patch covers already")
            continue
        data = delta.make(base.payload(old.digest), image)
        if len(data) >= packed:
            note(f"{board}: no patch from {base.version}, it would have {len(data)} bytes")
            continue
        note(f"{board}: patch from {base.version} of {len(data)} bytes")
        patches[old.digest] = Patch(
            base=old.digest,
            base_size=old.size,
            base_version=base.version,
            base_sequence=base.sequence,
            size=len(data),
            digest=_store(scratch, data),
        )
    product, vendor = owner
    class_id = manifest.class_id(manifest.vendor_id(vendor), product, board)
    return Target(board, digest, len(image), tuple(patches.values()), f"{board}.suit", class_id.hex())


def check_previous(previous: Sequence[Release], product: str, vendor: str, sequence: int) -> None:
    """Refuse predecessors of another product, and those not older than `sequence`."""
    for base in previous:
        if (base.product, base.vendor) != (product, vendor):
            raise TidegateError(
                f"{base.folder} is a release of {base.product} by {base.vendor}, not of {product} by {vendor}",
                "Name earlier releases of the same product",
            )
        if base.sequence >= sequence:
            raise TidegateError(
                f"{base.folder} has sequence number {base.sequence}, the new release only {sequence}",
                f"Give --sequence {base.sequence + 1} or more",
            )


def _store(scratch: Path, data: bytes) -> str:
    digest = hashlib.sha256(data).hexdigest()
    write_atomic(scratch / "p" / digest, data)
    return digest
