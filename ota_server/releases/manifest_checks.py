"""Checks of signed manifests and payloads that releases and data have in common."""

from __future__ import annotations

import hashlib
from typing import Any, Protocol

from ota_server.errors import Conflict, Unprocessable
from ota_server.releases.payloads import Payloads
from tidegate import manifest
from tidegate.errors import Refused


class Stated(Protocol):
    """What the request states that it publishes."""

    @property
    def product(self) -> str: ...
    @property
    def vendor(self) -> str: ...
    @property
    def version(self) -> str: ...
    @property
    def sequence(self) -> int: ...


class ManifestFacts(Protocol):
    """What a verified manifest says."""

    @property
    def sequence(self) -> int: ...
    @property
    def version(self) -> str: ...
    @property
    def vendor_id(self) -> bytes: ...
    @property
    def class_id(self) -> bytes: ...


def check_same(board: str, facts: ManifestFacts, stated: Stated, names: tuple[str, str] | None = None) -> None:
    """Refused unless the signed manifest is for what the request says it is; names: inside and outside, of data."""
    vendor = manifest.vendor_id(stated.vendor)
    compared: list[tuple[str, Any, Any]] = [
        ("sequence", facts.sequence, stated.sequence),
        ("version", facts.version, stated.version),
        ("vendor", facts.vendor_id, vendor),
        ("class", facts.class_id, manifest.class_id(vendor, stated.product, board)),
    ]
    if names is not None:
        compared.insert(0, ("name", *names))
    for what, inside, outside in compared:
        if inside != outside:
            raise Refused(
                what,
                f"{board}: the signed manifest is for another {what} than the request says "
                f"({outside.hex() if isinstance(outside, bytes) else outside})",
                "Sign the manifest that was built for this product, board and version",
            )


def check_payload(payloads: Payloads, board: str, what: str, digest: bytes, size: int) -> bytes:
    """The stored payload, if it is there and what the manifest says."""
    name = digest.hex()
    if not payloads.has(name):
        raise Unprocessable(
            "missing-payload",
            f"{board}: the {what} {name} is not on this server",
            f"Upload it first: PUT /api/v1/payloads/{name}",
        )
    data = payloads.read(name)
    if len(data) != size or hashlib.sha256(data).digest() != digest:
        raise Refused(
            "size" if len(data) != size else "digest",
            f"{board}: the {what} {name} has {len(data)} bytes here and {size} in the manifest",
            "Build and sign the release again",
        )
    return data


def check_offered(what: str, withdrawn: bool) -> None:
    """Problem 409 if what is published again was withdrawn."""
    if withdrawn:
        raise Conflict(
            "withdrawn",
            f"{what} was withdrawn: keys that signed it were dropped from the trust store",
            "Sign it with the keys of now, under a newer sequence number",
        )
