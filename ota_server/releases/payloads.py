"""Payloads: named by their SHA-256, there whole or not at all, never changed. Where they are, a store decides.

Stores: payload_folder.py, a folder; payload_bucket.py, an S3-compatible store; payload_stores.py chooses.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from ota_server.errors import NotFound, Unavailable
from tidegate.names import DIGEST

PIECE = 64 * 1024


def check_name(name: str) -> str:
    """The name if it is 64 lower-case hex digits. Anything else can never be a path here."""
    if not DIGEST.fits(name):
        raise NotFound(
            "no-such-payload",
            "a payload is named by 64 lower-case hex digits",
            "Use the SHA-256 of its bytes",
        )
    return name


def place_of(name: str) -> str:
    """Where a store has the payload `name`, below its root."""
    return f"{check_name(name)[:2]}/{name}"


def file_of(folder: Path, name: str) -> Path:
    """Where the payload `name` is, or would be, in a folder of payloads."""
    return folder / place_of(name)


class Payloads(ABC):
    """A store of payloads. Every method raises NotFound for what is no digest, Unavailable while it cannot answer."""

    max_size: int  # bytes of one payload

    @abstractmethod
    def has(self, name: str) -> bool:
        """Whether the store has it now."""

    @abstractmethod
    def open(self, name: str) -> BinaryIO:
        """A file of this machine with its bytes, from the first on, to be sought in. Raises NotFound."""

    @abstractmethod
    def pieces(self, name: str) -> Iterator[bytes]:
        """What the store itself has under the name, at most `max_size` bytes and one. Raises NotFound."""

    @abstractmethod
    def store(self, name: str, stream: BinaryIO) -> int:
        """Take the bytes of `stream` in as `name`, in place of what was there; returns their number.

        Raises Problem 413, 422 (digest), 503 or 507 (no room), and then has changed nothing.
        """

    @abstractmethod
    def names(self) -> Iterator[str]:
        """All that the store has, and perhaps what others put there beside them."""

    @abstractmethod
    def where(self, name: str) -> str:
        """Where it is, for people."""

    def check(self) -> None:
        """Whether the store can be used at all. TidegateError if that needs somebody, Unavailable if time may do."""
        return

    def redirect(self, name: str) -> str | None:
        """An address where anyone can fetch it for some minutes, if the store gives such; raises NotFound."""
        return None

    def read(self, name: str) -> bytes:
        """All its bytes, which have the digest that it is named by. Raises NotFound."""
        with self.open(name) as file:
            data = file.read(self.max_size + 1)
        if hashlib.sha256(data).hexdigest() != name:
            raise damaged(name)
        return data

    def is_sound(self, name: str) -> bool:
        """Whether what the store itself has under the name has that digest. Raises NotFound."""
        digest = hashlib.sha256()
        for piece in self.pieces(name):
            digest.update(piece)
        return digest.hexdigest() == name


def missing(name: str) -> NotFound:
    return NotFound("no-such-payload", f"there is no payload {name}", "Check the digest; was it published here?")


def damaged(name: str) -> Unavailable:
    return Unavailable(
        "payload-damaged",
        f"the payload store has other bytes under {name}",
        "Upload it again (PUT puts it right), and look at the store: tidegate server check",
    )
