"""Makes small, real, signed releases: ROMFS images, patches between them, SUIT envelopes."""

from __future__ import annotations

import base64
import hashlib
import random
from typing import Any

from tidegate import delta, manifest
from tidegate.image import Identity, pack
from tidegate.manifest import data_profile
from tidegate.trust.keys import Key

VENDOR, PRODUCT, BOARD = "tidegate.example", "tidegate-gateway", "unix"


def make_image(version: str, sequence: int, board: str = BOARD, product: str = PRODUCT, size: int = 4000) -> bytes:
    """A ROMFS image whose content changes a little from one version to the next."""
    code = bytearray(random.Random(7).randbytes(size))
    code[100 : 100 + len(version)] = version.encode()
    identity = Identity(product, version, sequence, board)
    return pack({"app": {"main.mpy": bytes(code)}, "release.json": identity.encode()})


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def make_data(key: Key, content: bytes, sequence: int, name: str = "calibration", board: str = BOARD) -> dict[str, Any]:
    """The document of POST /api/v1/data for `content`."""
    vendor = manifest.vendor_id(VENDOR)
    facts = data_profile.DataManifest(
        name=name,
        sequence=sequence,
        version=f"{sequence}.0",
        vendor_id=vendor,
        class_id=manifest.class_id(vendor, PRODUCT, board),
        digest=hashlib.sha256(content).digest(),
        size=len(content),
    )
    envelope = manifest.seal(data_profile.encode(facts), [key])
    return {
        "name": name,
        "product": PRODUCT,
        "vendor": VENDOR,
        "version": f"{sequence}.0",
        "sequence": sequence,
        "targets": {board: {"envelope": base64.b64encode(envelope).decode()}},
    }


def make(
    key: Key,
    version: str,
    sequence: int,
    *,
    bases: tuple[bytes, ...] = (),
    product: str = PRODUCT,
    vendor: str = VENDOR,
    board: str = BOARD,
    content: bytes | None = None,
    patches: dict[bytes, bytes] | None = None,
    needs: manifest.Needs = manifest.Needs(),  # noqa: B008
) -> dict[str, Any]:
    """A release for one board. `patches` (base -> patch) replaces the right patches from `bases` by others."""
    new = content or make_image(version, sequence, board, product)
    made = patches or {base: delta.make(base, new) for base in bases}
    vendor_id = manifest.vendor_id(vendor)
    facts = manifest.Manifest(
        sequence=sequence,
        version=version,
        vendor_id=vendor_id,
        class_id=manifest.class_id(vendor_id, product, board),
        image=manifest.Image(hashlib.sha256(new).digest(), len(new)),
        patches=tuple(
            manifest.Patch(hashlib.sha256(base).digest(), len(base), hashlib.sha256(patch).digest(), len(patch))
            for base, patch in made.items()
        ),
        needs=needs,
    )
    return {
        "product": product,
        "vendor": vendor,
        "version": version,
        "sequence": sequence,
        "image": new,
        "payloads": {digest(data): data for data in (new, *made.values())},
        "envelopes": {board: manifest.sign(manifest.encode(facts), [key])},
    }
