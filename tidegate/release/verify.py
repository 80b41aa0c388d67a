"""Verifies a release: all that a device and the server would check, before either gets it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tidegate import delta, json_text
from tidegate import manifest as suit
from tidegate.errors import Refused
from tidegate.image import Identity, romfs
from tidegate.release import sbom
from tidegate.release.folder import Release, Target
from tidegate.trust.store import TrustStore


def verify_release(release: Release, trust: TrustStore, previous: Sequence[Release] = ()) -> dict[str, Any]:
    """Check every board of `release`; Refused names the first thing a device or the server would refuse.

    It checks strict decoding and signatures of each manifest against `trust`, that it states what release.json does,
    digests and sizes of all payloads, that each image is one and says so, every operation of each patch, and that
    patches whose base is in `previous` give the image. Returns the facts for each board, with "applied" true for each
    patch that was applied to its base.
    """
    for base in previous:
        if base.product == release.product and base.sequence >= release.sequence:
            raise Refused(
                "older",
                f"the release has sequence number {release.sequence}, but {base.folder} has {base.sequence}",
                f"Build it with --sequence {base.sequence + 1} or more",
            )
    checked = {board: _verify_target(release, target, trust, previous) for board, target in release.targets.items()}
    found = sbom.stored(release)
    if found is not None:
        sbom.verify(*found, (release.product, release.version, release.sequence), trust)
        if found[0] != sbom.document(release):
            raise Refused("sbom", f"{sbom.DOCUMENT} does not say what the images hold", "Sign the release again")
    return checked


def check_image(image: bytes, identity: Identity, *, again: bool = False) -> dict[str, bytes]:
    """The files of `image`, if its /release.json states `identity`; else Refused("image").

    With `again` it may state an older sequence number: an old image that is published again.
    """
    files = romfs.files(image)
    try:
        stated = json_text.loads(files["/release.json"])
    except (KeyError, ValueError) as error:
        raise Refused("image", "the image has no readable /release.json", "Build it again") from error
    if again and isinstance(stated, dict) and _is_before(stated.get("sequence"), identity.sequence):
        stated = {**stated, "sequence": identity.sequence}
    if stated != vars(identity):
        raise Refused("image", f"the image says it is {stated}, the release says {vars(identity)}", "Build it again")
    return files


def _is_before(number: Any, sequence: int) -> bool:
    return isinstance(number, int) and not isinstance(number, bool) and 0 < number < sequence


def check_patch(patch: bytes, old: bytes, image: bytes) -> None:
    """Refused("patch") unless `patch` turns `old` into exactly `image`."""
    if delta.apply(old, patch) != image:
        raise Refused("patch", "the patch makes another image from its base", "Build the release again")


def _verify_target(release: Release, target: Target, trust: TrustStore, previous: Sequence[Release]) -> dict[str, Any]:
    board = target.board
    envelope = release.envelope(board)
    manifest = suit.verify(envelope, trust)
    release.check_manifest(board, manifest, release.manifest(board))
    image = _payload(release, target.digest, target.size)
    identity = Identity(release.product, release.version, release.built_as, board)
    files = check_image(image, identity)
    patches = []
    for patch in target.patches:
        data = _payload(release, patch.digest, patch.size)
        header = delta.info(data).header
        if (header.old_size, header.new_size) != (patch.base_size, target.size):
            raise Refused("patch", f"the patch from {patch.base_version} is between files of other sizes")
        base = _find_base(previous, board, patch.base)
        if base is not None:
            check_patch(data, base, image)
        patches.append({"base_version": patch.base_version, "size": patch.size, "applied": base is not None})
    signers = [signature.kid.hex() for signature in suit.open_envelope(envelope).signatures]
    return {
        "sequence": release.sequence,
        "version": release.version,
        "image": {"digest": target.digest, "size": target.size, "files": len(files)},
        "manifest": {"size": len(envelope), "signed_by": signers},
        "patches": patches,
    }


def _payload(release: Release, digest: str, size: int) -> bytes:
    data = release.payload(digest)
    if len(data) != size:
        raise Refused("payload-digest", f"payload {digest} has {len(data)} bytes, the release says {size}")
    return data


def _find_base(previous: Sequence[Release], board: str, digest: str) -> bytes | None:
    for base in previous:
        if board in base.targets and base.targets[board].digest == digest:
            return base.payload(digest)
    return None
