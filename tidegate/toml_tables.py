"""What a TOML file of ours may hold, as a table of its keys, and the check of one table.

board.toml and tidegate.toml are checked by it; each says in its own words where a wrong value is.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

_MOST_TEXT = 200
_KINDS = {
    str: "a text",
    int: "a whole number",
    bool: "true or false",
    list: "a list of texts",
    dict: "a table",
}

Wrong = Callable[[str, str], Exception]  # (name of the key, what is wrong with it) -> the error to raise


@dataclass(frozen=True)
class Key:
    """One key: its type, whether it must be there, and its bounds. text: what it must be, in words.

    pattern: of a text, or of each text of a list.
    """

    kind: type
    text: str
    required: bool = False
    least: int = 0
    most: int = 1 << 31
    step: int = 1
    choices: tuple[str, ...] = ()
    pattern: re.Pattern[str] | None = None


def check_table(table: str, keys: Mapping[str, Key], values: Mapping[str, Any], wrong: Wrong) -> None:
    """Raise what `wrong` makes for a key of `values` that is unknown, missing, or not as `keys` says."""

    def named(key: str) -> str:
        return f"{table}.{key}" if table else key

    for name in values:
        if name not in keys:
            raise wrong(named(name), f"is unknown{like(name, keys)}")
    for name, key in keys.items():
        if name in values:
            _check_value(named(name), key, values[name], wrong)
        elif key.required:
            raise wrong(named(name), f"is missing: {key.text}")


def like(name: str, known: Iterable[str]) -> str:
    """What somebody may have meant who wrote `name`, to be put behind the sentence that refuses it; "" for nothing."""
    close = difflib.get_close_matches(name, known, 1)
    return f"; did you mean {close[0]}?" if close else ""


def _check_value(name: str, key: Key, value: Any, wrong: Wrong) -> None:
    if type(value) is not key.kind:  # isinstance would take a bool for an int
        raise wrong(name, f"must be {_KINDS[key.kind]}: {key.text}")
    if isinstance(value, str):
        if len(value) > _MOST_TEXT:
            raise wrong(name, f"has more than {_MOST_TEXT} characters")
        if key.choices and value not in key.choices:
            raise wrong(name, f"is {value!r}; it may be {', '.join(repr(choice) for choice in key.choices)}")
        if (key.pattern and not key.pattern.fullmatch(value)) or (key.required and not value and not key.choices):
            raise wrong(name, f"is {value!r}; it must be {key.text}")
    elif isinstance(value, int) and not key.least <= value <= key.most:
        raise wrong(name, f"is {value}; it may be {key.least} to {key.most}: {key.text}")
    elif isinstance(value, list):
        bad = [
            entry
            for entry in value
            if not (isinstance(entry, str) and (not key.pattern or key.pattern.fullmatch(entry)))
        ]
        if bad:
            raise wrong(name, f"has {bad[0]!r:.80} in it; it must be a list of {key.text}")


def line_of(text: str, name: str) -> int | None:
    """The line, from 1, on which the key `name` (TABLE.KEY, or TABLE) is; None where it is not written in that form."""
    table, _, key = name.rpartition(".")
    current = ""
    for number, line in enumerate(text.splitlines(), 1):
        heading = re.match(r"\s*\[\s*([\w.-]+)\s*\]", line)
        if heading:
            current = heading[1]
            if current == name:
                return number
        elif current == table and re.match(rf"\s*[\"']?{re.escape(key)}[\"']?\s*=", line):
            return number
    return None
