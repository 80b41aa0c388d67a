"""Offers as simulated boards read them: decoded strictly and verified as on a board, once for all of one process."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from tidegate import manifest
from tidegate.errors import Refused
from tidegate.manifest import data_profile
from tidegate.trust import rotation
from tidegate.trust.store import TrustStore

_MOST = 16
Read = TypeVar("Read")


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


@dataclass(frozen=True)
class DataOffer:
    """The same of a data component."""

    digest: bytes
    manifest: data_profile.DataManifest


class Offers:
    """trust: the store that signatures are checked against; None: they are not, and only the digests count."""

    def __init__(self, trust: TrustStore | None) -> None:
        self._stores = {} if trust is None else {trust.version: trust}
        self.first_trust = 1 if trust is None else trust.version  # version of the store that boards have at first
        self._known: OrderedDict[bytes, Offer] = OrderedDict()
        self._data: OrderedDict[bytes, DataOffer] = OrderedDict()

    def read(self, envelope: bytes) -> Offer:
        """Refused if a board would refuse it."""
        return _remembered(self._known, envelope, self._read)

    def read_data(self, envelope: bytes) -> DataOffer:
        """The same of data."""
        return _remembered(self._data, envelope, self._read_data)

    def trust_version(self, update: bytes, has: int) -> int:
        """The version of the store that a board with version `has` holds after this update: Refused, as it would be
        there; `has` itself where the update is the one that it took."""
        new = rotation.store_of(update)
        if new.version == has:
            return has
        if new.version != has + 1:
            raise Refused("version", f"trust store version {new.version} does not follow version {has}")
        old = self._stores.get(has)
        if old is not None and self._stores.get(new.version) != new:
            self._stores[new.version] = rotation.verify(update, old)
        return new.version

    def _read(self, envelope: bytes) -> Offer:
        opened = self._open(envelope)
        return Offer(opened.digest, manifest.decode(opened.manifest))

    def _read_data(self, envelope: bytes) -> DataOffer:
        opened = self._open(envelope)
        return DataOffer(opened.digest, data_profile.decode(opened.manifest))

    def _open(self, envelope: bytes) -> manifest.Envelope:
        opened = manifest.open_envelope(envelope)
        if self._stores:
            manifest.check_signatures(opened, self._stores[max(self._stores)])
        return opened


def _remembered(known: OrderedDict[bytes, Read], envelope: bytes, read: Callable[[bytes], Read]) -> Read:
    found = known.get(envelope)
    if found is None:
        found = known[envelope] = read(envelope)
        if len(known) > _MOST:
            known.popitem(last=False)
    return found
