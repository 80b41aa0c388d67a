"""What publishing a release and publishing data have in common: envelopes as they are sent, and what they say."""

from __future__ import annotations

import base64
import binascii
import hashlib
from typing import Any, Protocol

from ota_server.config import MAX_ENVELOPE
from ota_server.errors import Problem
from ota_server.releases.payloads import Payloads
from tidegate import manifest
from tidegate.errors import Refused
from tidegate.names import BOARD

_MAX_TARGETS = 64


class Said(Protocol):
    """What the request says is published."""

    @property
    def product(self) -> str: ...
    @property
    def vendor(self) -> str: ...
    @property
    def version(self) -> str: ...
    @property
    def sequence(self) -> int: ...


class Signed(Protocol):
    """What a signed manifest says."""

    @property
    def sequence(self) -> int: ...
    @property
    def version(self) -> str: ...
    @property
    def vendor_id(self) -> bytes: ...
    @property
    def class_id(self) -> bytes: ...


def read_envelopes(body: dict[str, Any]) -> dict[str, bytes]:
    """The envelopes by board in the member "targets" of what is published."""
    targets = body["targets"]
    if not isinstance(targets, dict) or not 1 <= len(targets) <= _MAX_TARGETS:
        raise _invalid(f"targets must hold 1 to {_MAX_TARGETS} boards")
    return {board: _envelope(board, entry) for board, entry in targets.items()}


def _envelope(board: str, entry: Any) -> bytes:
    if not BOARD.fits(board):
        raise _invalid(BOARD.refusal(board))
    if not isinstance(entry, dict) or set(entry) != {"envelope"} or not isinstance(entry["envelope"], str):
        raise _invalid(f"target {board} must be an object with the member envelope (base64)")
    if len(entry["envelope"]) > MAX_ENVELOPE * 2:
        raise Problem(413, "too-large", f"the envelope for {board} has more than {MAX_ENVELOPE} bytes", "")
    try:
        return base64.b64decode(entry["envelope"], validate=True)
    except (binascii.Error, ValueError):
        raise _invalid(f"the envelope for {board} is not base64") from None


def check_same(board: str, signed: Signed, said: Said, names: tuple[str, str] | None = None) -> None:
    """Refused unless the signed manifest is for what the request says it is; names: inside and outside, of data."""
    vendor = manifest.vendor_id(said.vendor)
    compared: list[tuple[str, Any, Any]] = [
        ("sequence", signed.sequence, said.sequence),
        ("version", signed.version, said.version),
        ("vendor", signed.vendor_id, vendor),
        ("class", signed.class_id, manifest.class_id(vendor, said.product, board)),
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
        raise Problem(
            422,
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
        raise Problem(
            409,
            "withdrawn",
            f"{what} was withdrawn: keys that signed it were dropped from the trust store",
            "Sign it with the keys of now, under a newer sequence number",
        )


def _invalid(detail: str) -> Problem:
    return Problem(400, "invalid-targets", detail, "Publish with: tidegate release publish DIR (or data publish DIR)")
