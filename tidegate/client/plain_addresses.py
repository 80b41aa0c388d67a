"""Addresses that a secret may be sent to without TLS: this machine's own, and those that the user allowed once."""

from __future__ import annotations

import ipaddress
import os
from pathlib import Path

from tidegate import json_text, user_folder
from tidegate.errors import TidegateError

VARIABLE = "TIDEGATE_INSECURE"
_FILE = "insecure.json"
_MAX = 65_536  # bytes of the file
_PLAIN = ("http", "mqtt")


def check(url: str, scheme: str, host: str, insecure: bool, what: str = "the token") -> None:
    """Refuse to send `what` in the clear to another machine, unless the user allows it.

    insecure: the user says so now (--insecure); it is remembered for this address in the user's own folder. The
    environment variable TIDEGATE_INSECURE=1 allows it without remembering.
    """
    if scheme not in _PLAIN or is_here(host) or os.environ.get(VARIABLE, "0") not in ("", "0"):
        return
    file = user_folder.path(_FILE)
    allowed = _read(file)
    if url in allowed:
        return
    if not insecure:
        raise TidegateError(
            f"{url} is on another machine and has no TLS: whoever is on the way can read and use {what}",
            f"Use {scheme}s://, or add --insecure once for this address ({VARIABLE}=1 where nothing is remembered)",
        )
    user_folder.write(_FILE, [*allowed, url])


def is_here(host: str) -> bool:
    """Whether `host` is this machine by its form alone: no name server is asked."""
    host = host.rstrip(".").lower()
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host.strip("[]").partition("%")[0]).is_loopback
    except ValueError:
        return False


def _read(file: Path) -> list[str]:
    try:
        with file.open("rb") as stream:
            found = json_text.loads(stream.read(_MAX))
    except FileNotFoundError:
        return []
    except (OSError, json_text.NotJson) as error:
        raise TidegateError(f"{file} cannot be read: {error}", "Delete it; --insecure makes it again") from error
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise TidegateError(f"{file} is not a list of addresses", "Delete it; --insecure makes it again")
    return found
