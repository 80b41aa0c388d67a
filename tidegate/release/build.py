"""Builds a release: one image for each board and the patches from earlier releases that are worth it."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from tidegate import boards, delta
from tidegate import image as images
from tidegate import manifest as suit
from tidegate.errors import TidegateError
from tidegate.files import write_atomic
from tidegate.release import folder as folders
from tidegate.release.folder import Patch, Release, Target

DEFAULT_PRODUCT = "tidegate-gateway"
DEFAULT_VENDOR = "tidegate.example"

Note = Callable[[str], None]


def build(
    root: Path,
    out: Path,
    *,
    board_names: Sequence[str],
    version: str,
    sequence: int,
    previous: Sequence[Release] = (),
    product: str = DEFAULT_PRODUCT,
    vendor: str = DEFAULT_VENDOR,
    progress: images.Progress | None = None,
    note: Note = lambda text: None,
) -> Release:
    """Build the release `version` from the sources in `root` into the new folder `out`.

    `previous` are releases to make patches from, newest first; the first is the predecessor whose numbering the
    new images keep. `note` is told each result in a line. On any failure `out` does not exist. The same sources
    and predecessors give the same bytes.
    """
    folders.check_identity(product, vendor, version, sequence)
    targets = [boards.load(root, name) for name in dict.fromkeys(board_names)]
    _check_previous(previous, product, vendor, sequence)
    if out.exists():
        raise TidegateError(f"{out} exists; a release is never changed", "Name a new folder or remove it")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    except OSError as error:
        raise TidegateError(f"cannot write {out}: {error.strerror}", "Choose another --out") from error
    try:
        (scratch / "p").mkdir()
        built = {}
        for board in targets:
            identity = images.Identity(product, version, sequence, board.name)
            last = previous[0].targets.get(board.name) if previous else None
            image = images.build(root, board, identity, progress, previous[0].payload(last.digest) if last else None)
            target = _target(scratch, board, image, identity, vendor, previous, note)
            built[board.name] = replace(target, predecessor=last.digest if last else None)
        release = Release(scratch, product, vendor, version, sequence, built)
        write_atomic(scratch / folders.INDEX, folders.encode(release))
        scratch.chmod(0o755)
        scratch.rename(out)
    except BaseException as error:
        shutil.rmtree(scratch, ignore_errors=True)
        if isinstance(error, OSError):
            raise TidegateError(f"cannot write {out}: {error.strerror}", "Check the free space") from error
        raise
    return folders.load(out)


def _target(
    scratch: Path,
    board: boards.Board,
    image: bytes,
    identity: images.Identity,
    vendor: str,
    previous: Sequence[Release],
    note: Note,
) -> Target:
    board.check_image(len(image))
    digest = _store(scratch, image)
    packed = delta.packed_size(image)
    note(f"{board.name}: image of {len(image)} bytes, {packed} packed")
    patches: dict[str, Patch] = {}
    for base in previous:
        if board.name not in base.targets:
            note(f"{board.name}: no patch from {base.version}, which has no image for this board")
            continue
        if len(patches) == suit.MAX_PATCHES:
            note(f"{board.name}: no patch from {base.version}, a manifest carries at most {suit.MAX_PATCHES}")
            continue
        old = base.targets[board.name]
        if old.digest == digest or old.digest in patches:
            note(f"{board.name}: no patch from {base.version}, whose image is the same as another's")
            continue
        data = delta.make(base.payload(old.digest), image, [delta.DEFLATE])
        if len(data) >= packed:
            note(f"{board.name}: no patch from {base.version}, it would have {len(data)} bytes")
            continue
        note(f"{board.name}: patch from {base.version} of {len(data)} bytes")
        patches[old.digest] = Patch(
            base=old.digest,
            base_size=old.size,
            base_version=base.version,
            base_sequence=base.sequence,
            size=len(data),
            digest=_store(scratch, data),
        )
    vendor_id = suit.vendor_id(vendor)
    class_id = suit.class_id(vendor_id, identity.product, board.name)
    return Target(board.name, digest, len(image), tuple(patches.values()), f"{board.name}.suit", class_id.hex())


def _check_previous(previous: Sequence[Release], product: str, vendor: str, sequence: int) -> None:
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
