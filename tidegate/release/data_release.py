"""A data release: one file for the devices of a product, updated without their image.

DIR/data.json        what it is: component, product, version, sequence number, boards, digest and size
DIR/p/<sha256>       the file
DIR/<board>.suit     the signed manifest, once signed
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tidegate import manifest as suit
from tidegate import names
from tidegate.errors import Refused, TidegateError
from tidegate.files import read_limited, write_atomic
from tidegate.manifest import data_profile, profile
from tidegate.release.folder import check_identity
from tidegate.release.scratch import new_folder
from tidegate.trust.keys import Key
from tidegate.trust.store import TrustStore

if TYPE_CHECKING:  # httpx is loaded by what talks to a server
    from tidegate.client import Server

FORMAT = 1
INDEX = "data.json"
_MAX_INDEX = 16 * 1024


@dataclass(frozen=True)
class DataRelease:
    """A data release that was read; digest is hex, size in bytes."""

    folder: Path
    name: str
    product: str
    vendor: str
    version: str
    sequence: int
    digest: str
    size: int
    boards: tuple[str, ...]

    def content(self) -> bytes:
        """The file, its digest checked."""
        data = read_limited(self.folder / "p" / self.digest, data_profile.MAX_FILE, "data file")
        if len(data) != self.size or hashlib.sha256(data).hexdigest() != self.digest:
            raise TidegateError(f"the file in {self.folder} was changed since it was built", "Build it again")
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

    def envelope(self, board: str) -> bytes:
        """The signed manifest for `board`."""
        path = self.folder / f"{board}.suit"
        if not path.exists():
            raise TidegateError(
                f"the data in {self.folder} is not signed for {board}",
                f"Run `tidegate data sign {self.folder} --key FILE`",
            )
        return read_limited(path, suit.MAX_SIZE, "manifest")


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
    """Make the data release `out` of `content` for the component `name`; unsigned."""
    check_identity(product, vendor, version, sequence)
    if not 0 < len(content) <= data_profile.MAX_FILE:
        raise TidegateError(f"{len(content)} bytes of data are not in 1..{data_profile.MAX_FILE}")
    digest = hashlib.sha256(content).hexdigest()
    targets = tuple(names.BOARD.check(board) for board in dict.fromkeys(boards))
    made = DataRelease(out, name, product, vendor, version, sequence, digest, len(content), targets)
    for board in targets:
        data_profile.encode(made.manifest(board))  # refuses a bad name before anything is written
    index = {"format": FORMAT, **{key: value for key, value in vars(made).items() if key != "folder"}}
    with new_folder(out) as scratch:
        write_atomic(scratch / "p" / digest, content)
        write_atomic(scratch / INDEX, (json.dumps(index, indent=2) + "\n").encode())
    return load(out)


def load(folder: Path | str) -> DataRelease:
    """Read and check DIR/data.json."""
    folder = Path(folder)
    path = folder / INDEX
    if not path.exists():
        raise TidegateError(f"{folder} is not a data release: it has no {INDEX}", "Make one with `tidegate data build`")
    try:
        index = json.loads(read_limited(path, _MAX_INDEX, "data release"))
        if index.pop("format") != FORMAT or not isinstance(index["boards"], list):
            raise ValueError("format")
        found = DataRelease(folder, **{**index, "boards": tuple(index["boards"])})
        check_identity(found.product, found.vendor, found.version, found.sequence)
        if not found.boards:
            raise ValueError("no board")
        for board in found.boards:
            names.BOARD.check(board)
            data_profile.encode(found.manifest(board))
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise TidegateError(f"{path} is damaged: {type(error).__name__} {error}", "Build it again") from error
    return found


def sign(release: DataRelease, keys: Sequence[Key]) -> dict[str, bytes]:
    """Write DIR/<board>.suit for every board; returns the envelopes by board."""
    release.content()
    envelopes = {board: suit.seal(data_profile.encode(release.manifest(board)), keys) for board in release.boards}
    for board, envelope in envelopes.items():
        write_atomic(release.folder / f"{board}.suit", envelope)
    return envelopes


def verify_envelope(data: bytes, trust: TrustStore) -> data_profile.DataManifest:
    """The manifest in the envelope `data`, if enough release keys of `trust` signed it; else Refused."""
    envelope = suit.open_envelope(data)
    suit.check_signatures(envelope, trust)
    return data_profile.decode(envelope.manifest)


def verify(release: DataRelease, trust: TrustStore) -> None:
    """Refused unless every manifest is signed and states what data.json does, and the file is the right one."""
    release.content()
    for board in release.boards:
        if verify_envelope(release.envelope(board), trust) != release.manifest(board):
            raise Refused("malformed", f"{board}.suit does not state what {INDEX} does", "Sign it again")


def publish(release: DataRelease, server: Server) -> dict[str, Any]:
    """Upload the file and offer it to the devices; safe to repeat. Returns the server's answer."""
    envelopes = {board: release.envelope(board) for board in release.boards}
    server.put_payload(release.digest, release.content())
    return server.publish_data(
        {
            "name": release.name,
            "product": release.product,
            "vendor": release.vendor,
            "version": release.version,
            "sequence": release.sequence,
            "targets": {
                board: {"envelope": base64.b64encode(data).decode("ascii")} for board, data in envelopes.items()
            },
        }
    )
