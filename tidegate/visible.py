"""Text of others (a server, a device, a file) made safe to print: nothing in it moves a cursor or hides.

A terminal obeys control characters, and readers are misled by characters that turn the direction of text or have no
width. Each is shown by its escape instead: ESC as \\x1b. What is printable stays as it is.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import Any

_HIDDEN = ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")  # control, format, surrogate, private, line and paragraph separator
LINES = "\n\t"  # what a text of several lines may have
MULTILINE = frozenset({"output", "trace", "log"})  # members of answers that are such texts


def visible(text: str, keep: str = "") -> str:
    """`text` with its hidden characters escaped, but for those in `keep`. Doing it twice changes nothing."""
    if text.isprintable():
        return text
    return "".join(one if one in keep or unicodedata.category(one) not in _HIDDEN else _escape(one) for one in text)


def visible_lines(text: str) -> str:
    """A text of several lines: newlines and tabs stay, and a carriage return before a newline is dropped."""
    return visible(text.replace("\r\n", "\n"), LINES)


def visible_value(value: Any, name: str = "") -> Any:
    """A JSON value with all its texts and names safe; those called as in MULTILINE keep their lines."""
    if isinstance(value, str):
        return visible_lines(value) if name in MULTILINE else visible(value)
    if isinstance(value, Mapping):
        return {visible(str(key)): visible_value(item, str(key)) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [visible_value(item, name) for item in value]
    return value


def _escape(one: str) -> str:
    return {"\n": "\\n", "\t": "\\t", "\r": "\\r"}.get(one) or one.encode("unicode_escape").decode("ascii")
