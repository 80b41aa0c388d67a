"""Looks published releases up by what people call them."""

from __future__ import annotations

from sqlalchemy.orm import Session

from ota_server.errors import NotFound
from ota_server.store import releases as stored
from ota_server.store.models import Release


def find(session: Session, product: str, version: str) -> Release:
    """The newest release of this version. Raises NotFound."""
    release = stored.by_version(session, product, version)
    if release is None:
        raise NotFound(
            "no-such-release",
            f"{product} {version} is not published here, or was withdrawn",
            "Publish it first: tidegate release publish DIR",
        )
    return release
