"""A release on disk:

DIR/release.json     what it is: product, version, sequence number, and for every board its image and patches
DIR/p/<sha256>       every payload, named by its digest
DIR/<board>.suit     the signed manifest, once signed
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from tidegate import json_text, names
from tidegate import manifest as suit
from tidegate.errors import Refused, TidegateError
from tidegate.files import read_limited
from tidegate.release.provenance import Origin

FORMAT = 1
INDEX = "release.json"
MAX_INDEX = 256 * 1024
MAX_PAYLOAD = 64 * 1024 * 1024
_REBUILD = "Build the release again"


@dataclass(frozen=True)
class Patch:
    """A patch payload and the release it starts from; digests as hex, sizes in bytes."""

    base: str
    base_size: int
    base_version: str
    base_sequence: int
    size: int
    digest: str


@dataclass(frozen=True)
class Target:
    """What a release holds for one board: image digest (hex) and size, patches, file name of the manifest.

    `predecessor` is the digest of the image whose numbering this one keeps; together with the sources it determines
    the bytes. `sources` is the digest of those (tidegate.release.provenance).
    """

    board: str
    digest: str
    size: int
    patches: tuple[Patch, ...]
    manifest: str
    class_id: str
    predecessor: str | None = None
    sources: str | None = None

    @property
    def payloads(self) -> dict[str, int]:
        """Digest -> size of every payload, the image first."""
        return {self.digest: self.size, **{patch.digest: patch.size for patch in self.patches}}


@dataclass(frozen=True)
class SignedFolder:
    """What releases of images and of data have in common: payloads named by their digest, and a signed manifest for
    each board. `folder` is where it is."""

    folder: Path
    product: str
    vendor: str
    version: str
    sequence: int

    index: ClassVar[str]  # the file that says what is in the folder
    command: ClassVar[str]  # of `tidegate`, that makes and signs such folders

    @property
    def payload_sizes(self) -> dict[str, int]:
        """Digest (hex) -> bytes of every payload."""
        raise NotImplementedError

    def board_names(self) -> list[str]:
        """The boards it is for, in the order in which they are signed."""
        raise NotImplementedError

    def encode_manifest(self, board: str) -> bytes:
        """The unsigned manifest for `board`."""
        raise NotImplementedError

    def payload(self, digest: str) -> bytes:
        """The payload named `digest` (hex), its SHA-256 checked."""
        path = self.folder / "p" / digest
        data = read_limited(path, MAX_PAYLOAD, "payload")
        if not is_named(data, digest):
            raise TidegateError(f"payload {path} was changed: it does not have the digest it is named by", _REBUILD)
        return data

    def envelope(self, board: str) -> bytes:
        """The signed manifest for `board`."""
        path = self.folder / manifest_name(board)
        if not path.exists():
            raise TidegateError(
                f"the {self.command} in {self.folder} is not signed for {board}",
                f"Run `tidegate {self.command} sign {self.folder} --key FILE`",
            )
        return read_limited(path, suit.MAX_SIZE, "manifest")

    def check_manifest(self, board: str, signed: object, expected: object) -> None:
        """Refuse a signed manifest that does not state what the index does."""
        if signed != expected:
            raise Refused(
                "malformed",
                f"{manifest_name(board)} does not state what {self.index} does",
                f"Sign it again: `tidegate {self.command} sign {self.folder} --key FILE`",
            )

    def document(self) -> dict[str, Any]:
        """What publishing it sends to the server, where images and data are the same: names and signed manifests."""
        targets = {
            board: {"envelope": base64.b64encode(self.envelope(board)).decode("ascii")} for board in self.board_names()
        }
        return {
            "product": self.product,
            "vendor": self.vendor,
            "version": self.version,
            "sequence": self.sequence,
            "targets": targets,
        }


@dataclass(frozen=True)
class Release(SignedFolder):
    """A release folder that was read.

    `image_sequence` is the number that the images were built under, where that is not the release's: an old image
    that was published again. `needs` is what a device must have before it takes the
    release, `restart_s` how long the restart into it may wait for the application.
    """

    targets: Mapping[str, Target]
    image_sequence: int | None = None
    origin: Origin | None = None
    needs: suit.Needs = suit.Needs()
    restart_s: int | None = None

    index: ClassVar[str] = INDEX
    command: ClassVar[str] = "release"

    @property
    def built_as(self) -> int:
        """The sequence number in the images themselves."""
        return self.sequence if self.image_sequence is None else self.image_sequence

    @property
    def payload_sizes(self) -> dict[str, int]:
        return {digest: size for target in self.targets.values() for digest, size in target.payloads.items()}

    def board_names(self) -> list[str]:
        return sorted(self.targets)

    def manifest(self, board: str) -> suit.Manifest:
        """The facts that the manifest for `board` is to state."""
        target = self.targets[board]
        vendor = suit.vendor_id(self.vendor)
        return suit.Manifest(
            sequence=self.sequence,
            version=self.version,
            vendor_id=vendor,
            class_id=suit.class_id(vendor, self.product, board),
            image=suit.Image(bytes.fromhex(target.digest), target.size),
            patches=tuple(
                suit.Patch(bytes.fromhex(p.base), p.base_size, bytes.fromhex(p.digest), p.size) for p in target.patches
            ),
            needs=self.needs,
            restart_s=self.restart_s,
        )

    def encode_manifest(self, board: str) -> bytes:
        return suit.encode(self.manifest(board))


def manifest_name(board: str) -> str:
    """The file name of a board's signed manifest."""
    return f"{board}.suit"


def is_named(payload: bytes, digest: str) -> bool:
    """Whether a payload has the digest that it is named by."""
    return hashlib.sha256(payload).hexdigest() == digest


def read_index(folder: Path, kind: type[SignedFolder], most: int) -> dict[str, Any]:
    """The JSON object in a folder's index, of at most `most` bytes, its format checked and nothing else."""
    path = folder / kind.index
    if not path.exists():
        what = "a release" if kind is Release else f"a {kind.command} release"
        raise TidegateError(
            f"{folder} is not {what}: it has no {kind.index}", f"Make one with `tidegate {kind.command} build`"
        )
    try:
        index = json_text.loads(read_limited(path, most, "release"))
        found = index["format"]
    except (ValueError, RecursionError) as error:
        raise TidegateError(f"{path} is damaged: {error}", _REBUILD) from error
    except (KeyError, TypeError) as error:
        raise damaged(path, error) from error
    if found != FORMAT:
        raise TidegateError(f"{path} has format {found!r}, this is for format {FORMAT}", _REBUILD)
    return dict(index)


def damaged(path: Path, error: Exception) -> TidegateError:
    return TidegateError(f"{path} is damaged: {type(error).__name__} {error}", _REBUILD)


def load_release(folder: Path | str) -> Release:
    """Read and check DIR/release.json; payloads and manifests are read when they are needed."""
    folder = Path(folder)
    path = folder / INDEX
    index = read_index(folder, Release, MAX_INDEX)
    try:
        targets = {board: _target(board, entry) for board, entry in index["targets"].items()}
        identity = (index["product"], index["vendor"], index["version"], index["sequence"])
        needs = suit.Needs(**index.get("needs", {}))
        release = Release(
            folder, *identity, targets, index.get("image_sequence"), Origin.read(index), needs, index.get("restart_s")
        )
        check_identity(release.product, release.vendor, release.version, release.sequence)
        suit.check_needs(needs, release.sequence)
        suit.check_restart(release.restart_s)
        if type(release.built_as) is not int or not 0 < release.built_as <= release.sequence:
            raise ValueError(f"image_sequence {release.built_as!r}")
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise damaged(path, error) from error
    if not targets:
        raise TidegateError(f"{path} has no board", _REBUILD)
    return release


def encode_index(release: Release) -> bytes:
    """The content of release.json."""
    index = {
        "format": FORMAT,
        "product": release.product,
        "vendor": release.vendor,
        "version": release.version,
        "sequence": release.sequence,
        **({"image_sequence": release.built_as} if release.built_as != release.sequence else {}),
        **({} if release.needs == suit.Needs() else {"needs": vars(release.needs)}),
        **({} if release.restart_s is None else {"restart_s": release.restart_s}),
        "targets": {board: _encode_target(target) for board, target in sorted(release.targets.items())},
        **(release.origin._asdict() if release.origin else {}),
    }
    return (json.dumps(index, indent=2) + "\n").encode()


def check_identity(product: str, vendor: str, version: str, sequence: int) -> None:
    """Refuse names and sequence numbers that devices and the server would refuse."""
    names.PRODUCT.check(product)
    names.VENDOR.check(vendor, f"Give {names.VENDOR.rule} that you own as --vendor")
    names.VERSION.check(version)
    if not isinstance(sequence, int) or isinstance(sequence, bool) or not 0 < sequence <= suit.MAX_SEQUENCE:
        raise TidegateError(
            f"sequence number {sequence!r} is not in 1..{suit.MAX_SEQUENCE}", "Count up by one a release"
        )


def _target(board: str, entry: dict[str, Any]) -> Target:
    if not names.BOARD.fits(board):
        raise ValueError(names.BOARD.refusal(board))
    patches = tuple(
        Patch(
            base=_hex(p["base"]),
            base_size=_size(p["base_size"]),
            base_version=str(p["base_version"]),
            base_sequence=int(p["base_sequence"]),
            size=_size(p["size"]),
            digest=_hex(p["digest"]),
        )
        for p in entry["patches"]
    )
    # The name is not taken from the file: it might lead out of the folder.
    manifest = manifest_name(board)
    image, before, sources = entry["image"], entry.get("predecessor"), entry.get("sources")
    return Target(
        board=board,
        digest=_hex(image["digest"]),
        size=_size(image["size"]),
        patches=patches,
        manifest=manifest,
        class_id=str(entry["class_id"]),
        predecessor=None if before is None else _hex(before),
        sources=None if sources is None else _hex(sources),
    )


def _encode_target(target: Target) -> dict[str, Any]:
    return {
        "image": {"digest": target.digest, "size": target.size},
        "patches": [vars(patch) for patch in target.patches],
        "manifest": target.manifest,
        "class_id": target.class_id,
        "predecessor": target.predecessor,
        **({} if target.sources is None else {"sources": target.sources}),
    }


def _hex(value: Any) -> str:
    if not names.DIGEST.fits(value):
        raise ValueError(names.DIGEST.refusal(value))
    return value


def _size(value: Any) -> int:
    if not isinstance(value, int) or not 0 < value <= MAX_PAYLOAD:
        raise ValueError(f"size {value!r}")
    return value
