"""Publishes a release: payloads first, then the signed manifests that name them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tidegate.release import sbom
from tidegate.release.folder import Release

if TYPE_CHECKING:  # httpx is loaded by what talks to a server
    from tidegate.client.server import Server

Progress = Callable[[int, int, str], None]


def plan_release(release: Release, server: Server, channel: str | None = None) -> dict[str, Any]:
    """What publishing `release` into `channel` would do: {"missing": payloads to upload, "devices": who gets what}.

    The server checks the manifests as for publishing, so this already refuses what publishing would.
    """
    return server.plan_release(_document(release, channel))


def publish_release(
    release: Release, server: Server, progress: Progress | None = None, channel: str | None = None
) -> dict[str, Any]:
    """Upload what `server` lacks of `release`, and publish it. Safe to repeat: it continues where it was cut off.

    `progress` is called with (bytes done, bytes in all, payload). Returns the server's answer.
    """
    document = _document(release, channel)
    sizes = release.payload_sizes
    missing = server.plan_release(document)["missing"]
    contents = {digest: release.payload(digest) for digest in sizes if digest in missing}  # nothing else it names
    total, done = sum(sizes.values()), sum(size for digest, size in sizes.items() if digest not in contents)
    for digest, data in contents.items():
        if progress:
            progress(done, total, digest)
        server.put_payload(digest, data)
        done += len(data)
    if progress:
        progress(total, total, "manifests")
    answer = server.publish(document)
    bill = sbom.stored(release)
    if bill is not None and not server.put_sbom(release.product, release.version, *bill):
        answer["warnings"].append("the server is older than this program and takes no SBOM")
    return answer


def _document(release: Release, channel: str | None) -> dict[str, Any]:
    """The body of POST /api/v1/releases."""
    return {**release.document(), **({} if channel is None else {"channel": channel})}
