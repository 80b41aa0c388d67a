"""Offers as simulated boards read them: decoded strictly and verified as on a board, once for all of one process."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from tidegate import manifest
from tidegate.trust.store import TrustStore

_MOST = 16


@dataclass(frozen=True)
class Offer:
    """A manifest and the digest that reports name it by."""

    digest: bytes
    manifest: manifest.Manifest

    def payload(self, running: bytes) -> tuple[bytes, int, str]:
        """(SHA-256, bytes, "patch" or "image") of what a board fetches that runs the image with this digest."""
        for patch in self.manifest.patches:
            if patch.base_digest == running:
                return patch.digest, patch.size, "patch"
        return self.manifest.image.digest, self.manifest.image.size, "image"


class Offers:
    """trust: the store that signatures are checked against; None: they are not, and only the digests count."""

    def __init__(self, trust: TrustStore | None) -> None:
        self._trust = trust
        self._known: OrderedDict[bytes, Offer] = OrderedDict()

    def read(self, envelope: bytes) -> Offer:
        """Refused if a board would refuse it."""
        found = self._known.get(envelope)
        if found is None:
            opened = manifest.open_envelope(envelope)
            if self._trust is not None:
                manifest.check_signatures(opened, self._trust)
            found = self._known[envelope] = Offer(opened.digest, manifest.decode(opened.manifest))
            if len(self._known) > _MOST:
                self._known.popitem(last=False)
        return found
