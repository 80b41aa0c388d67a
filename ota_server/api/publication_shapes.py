"""The shapes of what is published over the API: releases with their bills of materials, data, trust updates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field, model_validator

from ota_server.api.shapes import Base64, Channel, Component
from ota_server.api.validate import Body
from ota_server.config import MAX_ENVELOPE
from ota_server.errors import Invalid
from tidegate.names import BOARD
from tidegate.release import sbom
from tidegate.release.folder import check_identity
from tidegate.trust import rotation

_MAX_TARGETS = 64
_TARGETS_REMEDY = "Publish with: tidegate release publish DIR (or data publish DIR)"


class SignedManifest(Body):
    envelope: Annotated[bytes, Base64("envelope", MAX_ENVELOPE)]


def _targets(value: Any) -> Any:
    if not isinstance(value, dict) or not 1 <= len(value) <= _MAX_TARGETS:
        raise Invalid("invalid-targets", f"targets must hold 1 to {_MAX_TARGETS} boards", _TARGETS_REMEDY)
    for board in value:
        if not BOARD.fits(board):
            raise Invalid("invalid-targets", BOARD.refusal(board), BOARD.remedy)
    return value


class _Published(Body):
    value_kinds: ClassVar[Mapping[str, str]] = {"targets": "invalid-targets", "channel": "invalid-name"}
    product: str
    vendor: str
    version: str
    sequence: int
    targets: Annotated[
        dict[str, SignedManifest],
        Field(min_length=1, max_length=_MAX_TARGETS, description="signed manifests by board"),
        BeforeValidator(_targets),
    ]

    @model_validator(mode="before")
    @classmethod
    def _identity(cls, value: Any) -> Any:
        """Names and numbers are checked by the host's own rule, which has the better sentences."""
        names = ("product", "vendor", "version", "sequence")
        if isinstance(value, dict) and all(name in value for name in names) and set(value) <= set(cls.model_fields):
            check_identity(*(value[name] for name in names))
        return value

    def envelopes(self) -> dict[str, bytes]:
        """The signed manifests by board."""
        return {board: target.envelope for board, target in self.targets.items()}


class PublishRelease(_Published):
    what: ClassVar[str] = "the release"
    kind: ClassVar[str] = "invalid-release"
    remedy: ClassVar[str] = "Publish with: tidegate release publish DIR"
    channel: Channel | None = None


class PutSbom(Body):
    document: Annotated[bytes, Base64("SBOM", sbom.MAX_DOCUMENT)]
    signature: Annotated[bytes, Base64("signature of the SBOM", sbom.MAX_SIGNED)]


class PublishData(_Published):
    what: ClassVar[str] = "the data"
    kind: ClassVar[str] = "invalid-data"
    remedy: ClassVar[str] = "Publish with: tidegate data publish DIR"
    name: Component
    hold: bool = False


class PublishTrust(Body):
    """hold: for rollouts in waves; otherwise all devices get it."""

    hold: bool = False
    update: Annotated[bytes, Base64("trust update", rotation.MAX_SIZE)]
