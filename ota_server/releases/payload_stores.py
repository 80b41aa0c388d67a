"""Which store of payloads a server has."""

from __future__ import annotations

from pathlib import Path

from ota_server.config import Config
from ota_server.releases.payload_folder import FolderPayloads
from ota_server.releases.payloads import Payloads, place_of
from tidegate.errors import TidegateError

SIGNED = "signed"  # in place of an address to redirect to


def open_store(config: Config) -> Payloads:
    """The store that `config` names; in no way changed. TidegateError if it cannot be one."""
    place = config.payload_store
    if place.startswith("s3://"):
        from ota_server.releases.payload_bucket import BucketPayloads  # boto3 is an extra

        signs = config.payload_redirect == SIGNED
        return BucketPayloads(place, config.data / "payload-cache", config.max_payload, signs)
    if "://" in place:
        raise TidegateError(f"{place!r} is no store of payloads", "Name a folder, or s3://BUCKET/PREFIX")
    if config.payload_redirect == SIGNED:
        raise TidegateError(
            f"a folder cannot sign addresses, so --payload-redirect {SIGNED} needs --payloads s3://",
            "Name the address under which a web server has the folder",
        )
    try:
        return FolderPayloads(Path(place) if place else config.payloads, config.max_payload, is_shared=bool(place))
    except OSError as error:
        raise TidegateError(
            f"the folder of payloads {place or config.payloads} cannot be used: {error.strerror}",
            "Is it mounted, and may this user write there?",
        ) from error


def redirect(config: Config, payloads: Payloads, name: str) -> str | None:
    """Where a client is sent for the payload, None: nowhere. Raises Problem."""
    if not config.payload_redirect:
        return None
    if config.payload_redirect == SIGNED:
        return payloads.redirect(name)
    return f"{config.payload_redirect.rstrip('/')}/{place_of(name)}"
