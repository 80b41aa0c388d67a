"""What views need from the application and the request."""

from __future__ import annotations

import base64
import binascii
from typing import Any

from flask import current_app, request

from ota_server.config import DEFAULT_PAGE, MAX_PAGE, Config
from ota_server.errors import Problem
from ota_server.mqtt import mosquitto_files
from ota_server.releases.payloads import Payloads
from ota_server.security.credentials import Keys
from ota_server.store import Store


def config() -> Config:
    return current_app.extensions["config"]


def store() -> Store:
    return current_app.extensions["store"]


def payloads() -> Payloads:
    return current_app.extensions["payloads"]


def coap_keys() -> Keys:
    return current_app.extensions["coap_keys"]


def wake_worker() -> None:
    """There is something new to publish."""
    current_app.extensions["wake"].set()


def access_changed(device_id: str) -> None:
    """A device has other credentials, or none: brokers are told, and what connected with the old ones is cut off."""
    mosquitto_files.refresh(config(), store())
    dismiss = current_app.extensions["dismiss"]
    if dismiss is not None:
        dismiss(device_id)


def number(name: str, default: int, largest: int) -> int:
    """A query parameter that is a number from 0 to `largest`."""
    text = request.args.get(name)
    if text is None:
        return default
    if not text.isascii() or not text.isdigit() or len(text) > 18 or int(text) > largest:
        raise Problem(400, "invalid-parameter", f"{name} must be a number from 0 to {largest}", f"Correct ?{name}=")
    return int(text)


def limit() -> int:
    """The query parameter `limit`: rows in the answer."""
    return max(1, number("limit", DEFAULT_PAGE, MAX_PAGE))


def since() -> int:
    """The query parameter `since`: the id of the last row the caller has."""
    return number("since", 0, 2**53)


def any_json() -> Any:
    """The request's JSON value."""
    try:
        return request.get_json()
    except RecursionError:
        raise Problem(400, "invalid-body", "the body is nested too deeply", "See docs/server.md") from None


def json_body(*members: str) -> dict[str, Any]:
    """The request's JSON object; it must have exactly these members."""
    body = any_json()
    if not isinstance(body, dict) or set(body) != set(members):
        raise Problem(
            400,
            "invalid-body",
            f"the body must be a JSON object with exactly the members {', '.join(members)}",
            "See docs/server.md",
        )
    return body


def decode_base64(text: Any, what: str, largest: int) -> bytes:
    """The bytes in a base64 member of the body, at most `largest`."""
    if not isinstance(text, str):
        raise Problem(400, "invalid-body", f"{what} must be base64 text", "See docs/server.md")
    data = b""
    if len(text) <= (largest + 2) // 3 * 4:  # else it is too long whatever it says
        try:
            data = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            raise Problem(400, "invalid-body", f"{what} is not base64", "Send standard base64 with padding") from None
        if len(data) <= largest:
            return data
    raise Problem(413, "too-large", f"the {what} has more than {largest} bytes", "Is it the right file?")
