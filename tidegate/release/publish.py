"""Publishes a release: payloads first, then the signed manifests that name them."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

from tidegate.client import Server
from tidegate.release.folder import Release

Progress = Callable[[int, int, str], None]


def publish(release: Release, server: Server, progress: Progress | None = None) -> dict[str, Any]:
    """Upload `release` to `server`; safe to repeat: what is there already is not changed.

    `progress` is told (bytes done, bytes in all, payload). Returns the server's answer.
    """
    envelopes = {board: release.envelope(board) for board in sorted(release.targets)}
    payloads: dict[str, int] = {}
    for target in release.targets.values():
        payloads.update(target.payloads)
    contents = {digest: release.payload(digest) for digest in payloads}
    total, done = sum(payloads.values()), 0
    for digest, data in contents.items():
        if progress:
            progress(done, total, digest)
        server.put_payload(digest, data)
        done += len(data)
    if progress:
        progress(total, total, "manifests")
    targets = {board: {"envelope": base64.b64encode(data).decode("ascii")} for board, data in envelopes.items()}
    return server.publish(
        {
            "product": release.product,
            "vendor": release.vendor,
            "version": release.version,
            "sequence": release.sequence,
            "targets": targets,
        }
    )
