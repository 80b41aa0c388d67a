"""Bearer tokens out of files."""

from __future__ import annotations

import os
from pathlib import Path

from tidegate.errors import TidegateError
from tidegate.files import read_limited

MAX_TOKEN = 512


def read_token(path: Path | str | None) -> str:
    """The bearer token in `path`, or in the file that TIDEGATE_TOKEN_FILE names."""
    path = path or os.environ.get("TIDEGATE_TOKEN_FILE")
    if not path:
        raise TidegateError(
            "no token is given",
            "Name its file with --token-file or in TIDEGATE_TOKEN_FILE, or log in: tidegate login URL",
        )
    return check_token(read_limited(path, MAX_TOKEN, "token file").decode("ascii", "replace"), str(path))


def check_token(text: str, where: str) -> str:
    """The bearer token that `text`, which is from `where`, holds."""
    token = text.strip()
    if not token or len(token) > MAX_TOKEN or not token.isprintable() or " " in token or not token.isascii():
        raise TidegateError(f"{where} does not hold a token", "Make one with `tidegate token new`")
    return token
