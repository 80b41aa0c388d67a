"""Signs a release: one SUIT envelope for each board. The only step that needs a release key."""

from __future__ import annotations

from collections.abc import Sequence

from tidegate import manifest
from tidegate.files import write_atomic
from tidegate.release.folder import Release
from tidegate.trust.keys import Key


def sign_release(release: Release, keys: Sequence[Key]) -> dict[str, bytes]:
    """Write DIR/<board>.suit for every board of `release`; returns the envelopes by board.

    Every payload is read and its digest checked before anything is signed, and nothing is written unless
    all envelopes could be made. Signing again replaces the manifests.
    """
    for key in keys:
        key.signer_for("release")
    for target in release.targets.values():
        for digest in target.payloads:
            release.payload(digest)
    envelopes = {
        board: manifest.sign(manifest.encode(release.manifest(board)), keys) for board in sorted(release.targets)
    }
    for board, envelope in envelopes.items():
        write_atomic(release.folder / release.targets[board].manifest, envelope)
    return envelopes
