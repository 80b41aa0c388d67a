"""A release of data: one file for the devices of a product, updated without their image.

DIR/data.json        what it is: component, product, version, sequence number, boards, digest and size
DIR/p/<sha256>       the file
DIR/<board>.suit     the signed manifest, once signed
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from tidegate import manifest as suit
from tidegate import names
from tidegate.errors import TidegateError
from tidegate.files import new_folder, write_atomic
from tidegate.manifest import data_profile, profile
from tidegate.release.folder import FORMAT, SignedFolder, check_identity, damaged, read_index
from tidegate.release.sign import sign_release
from tidegate.trust.keys import Key
from tidegate.trust.store import TrustStore

if TYPE_CHECKING:  # httpx is loaded by what talks to a server
    from tidegate.client.server import Server

INDEX = "data.json"
_MAX_INDEX = 16 * 1024


@dataclass(frozen=True)
class DataRelease(SignedFolder):
    """A release of data that was read; `name` is the component, digest is hex, size in bytes."""

    name: str
    digest: str
    size: int
    boards: tuple[str, ...]

    index: ClassVar[str] = INDEX
    command: ClassVar[str] = "data"

    @property
    def payload_sizes(self) -> dict[str, int]:
        return {self.digest: self.size}

    def board_names(self) -> list[str]:
        return list(self.boards)

    def content(self) -> bytes:
        """The file, its digest and size checked."""
        data = self.payload(self.digest)
        if len(data) != self.size:
            raise TidegateError(f"the file in {self.folder} has {len(data)} bytes, not {self.size}", "Build it again")
        return data

    def manifest(self, board: str) -> data_profile.DataManifest:
        """The facts that the manifest for `board` is to state."""
        vendor = profile.vendor_id(self.vendor)
        return data_profile.DataManifest(
            name=self.name,
            sequence=self.sequence,
            version=self.version,
            vendor_id=vendor,
            class_id=profile.class_id(vendor, self.product, board),
            digest=bytes.fromhex(self.digest),
            size=self.size,
        )

    def encode_manifest(self, board: str) -> bytes:
        return data_profile.encode(self.manifest(board))

    def facts(self) -> dict[str, Any]:
        """The members of data.json, but for its format."""
        members = ("name", "product", "vendor", "version", "sequence", "digest", "size", "boards")
        return {member: getattr(self, member) for member in members}


def build(
    out: Path,
    name: str,
    content: bytes,
    *,
    boards: Sequence[str],
    version: str,
    sequence: int,
    product: str,
    vendor: str,
) -> DataRelease:
    """Make the unsigned release `out` of `content` for the component `name`."""
    check_identity(product, vendor, version, sequence)
    if not 0 < len(content) <= data_profile.MAX_FILE:
        raise TidegateError(f"the data has {len(content)} bytes, 1 to {data_profile.MAX_FILE} are allowed")
    digest = hashlib.sha256(content).hexdigest()
    targets = tuple(names.BOARD.check(board) for board in dict.fromkeys(boards))
    made = DataRelease(out, product, vendor, version, sequence, name, digest, len(content), targets)
    for board in targets:
        made.encode_manifest(board)  # refuses a bad name before anything is written
    with new_folder(out, "p") as scratch:
        write_atomic(scratch / "p" / digest, content)
        write_atomic(scratch / INDEX, (json.dumps({"format": FORMAT, **made.facts()}, indent=2) + "\n").encode())
    return load(out)


def load(folder: Path | str) -> DataRelease:
    """Read and check DIR/data.json."""
    folder = Path(folder)
    index = read_index(folder, DataRelease, _MAX_INDEX)
    del index["format"]
    try:
        if not isinstance(index["boards"], list) or not index["boards"]:
            raise ValueError(f"boards {index['boards']!r}")
        found = DataRelease(folder, **{**index, "boards": tuple(index["boards"])})
        check_identity(found.product, found.vendor, found.version, found.sequence)
        for board in found.boards:
            names.BOARD.check(board)
            found.encode_manifest(board)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise damaged(folder / INDEX, error) from error
    return found


def sign(release: DataRelease, keys: Sequence[Key]) -> dict[str, bytes]:
    """Write DIR/<board>.suit for every board; returns the envelopes by board."""
    release.content()
    return sign_release(release, keys)


def verify_envelope(data: bytes, trust: TrustStore) -> data_profile.DataManifest:
    """The manifest in the envelope `data`, if enough release keys of `trust` signed it; else Refused."""
    envelope = suit.open_envelope(data)
    suit.check_signatures(envelope, trust)
    return data_profile.decode(envelope.manifest)


def verify(release: DataRelease, trust: TrustStore) -> None:
    """Refused unless every manifest is signed and states what data.json does, and the file is the right one."""
    release.content()
    for board in release.boards:
        signed = verify_envelope(release.envelope(board), trust)
        release.check_manifest(board, signed, release.manifest(board))


def publish(release: DataRelease, server: Server, *, hold: bool = False) -> dict[str, Any]:
    """Upload the file and offer it to the devices, with `hold` only to those that a rollout in waves reaches.

    Safe to repeat. Returns the server's answer.
    """
    document = {"name": release.name, **release.document()}
    server.put_payload(release.digest, release.content())
    return server.publish_data(document, hold=hold)
