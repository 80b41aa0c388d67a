"""Makes what devices send fit to be stored and shown: no control characters, nothing a database cannot hold."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

MAX_INTEGER = 2**63 - 1  # what the database can hold
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_NOT_TEXT = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def clean_line(text: str) -> str:
    """Without control characters: a device must not write to its reader's terminal."""
    return _CONTROL.sub("\ufffd", text)


def clean_text(text: str) -> str:
    """The same for text of several lines."""
    return _NOT_TEXT.sub("\ufffd", text.replace("\r\n", "\n"))


def clean(value: Any, text: Callable[[str], str] = clean_line) -> Any:
    """Decoded CBOR as JSON that every database and browser takes: no control characters, NaN or huge numbers."""
    if isinstance(value, str):
        return text(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > MAX_INTEGER:
        return str(value)
    if isinstance(value, dict):
        return {clean(key): clean(item, text) for key, item in value.items()}
    if isinstance(value, list):
        return [clean(item, text) for item in value]
    return value
