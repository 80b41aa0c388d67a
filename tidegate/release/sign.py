"""Signs a release of images or of data: one SUIT envelope for each board. The only step that needs a release key."""

from __future__ import annotations

from collections.abc import Sequence

from tidegate import manifest
from tidegate.files import write_atomic
from tidegate.release.folder import SignedFolder, manifest_name
from tidegate.trust.keys import Key


def sign_release(release: SignedFolder, keys: Sequence[Key]) -> dict[str, bytes]:
    """Write DIR/<board>.suit for every board of `release`; returns the envelopes by board.

    Every payload is read and its digest checked before anything is signed, and nothing is written unless
    all envelopes could be made. Signing again replaces the manifests.
    """
    for key in keys:
        key.signer_for("release")
    for digest in release.payload_sizes:
        release.payload(digest)
    envelopes = {board: manifest.seal(release.encode_manifest(board), keys) for board in release.board_names()}
    for board, envelope in envelopes.items():
        write_atomic(release.folder / manifest_name(board), envelope)
    return envelopes
