"""JSON by RFC 8259 and I-JSON (RFC 7493), and nothing else: one reader for all that comes from outside.

Python's own reader takes what other readers refuse or read otherwise: NaN, a name that is given twice, UTF-16. What
two sides may read differently must not decide anything, so it is refused here.
"""

from __future__ import annotations

import json
import math
import re
from functools import partial
from typing import Any

MAX_DEPTH = 32
MAX_WHOLE = 2**63  # whole numbers from here on are refused: databases, dates and boards do not hold them

_MARK = "\ufeff"
_STRINGS = re.compile(r'"(?:[^"\\]|\\.)*+"?', re.DOTALL)  # an open one, too: each character is looked at once
_BRACKETS = re.compile(r"[\[\]{}]")


class NotJson(ValueError):
    """A text that is not JSON, or not of the kind that every reader reads alike; its text says why."""


def loads(data: bytes | str, max_depth: int = MAX_DEPTH, max_digits: int = 0) -> Any:
    """The value in `data` (UTF-8); NotJson says what is wrong with it, in words that complete "it ...".

    Arrays and objects may be `max_depth` deep. A byte order mark is refused: boards refuse it, too. max_digits: whole
    numbers of so many digits are left to a caller that judges each by its name.
    """
    if isinstance(data, bytes):
        try:
            data = data.decode("utf-8")
        except UnicodeDecodeError as error:
            raise NotJson(f"is not UTF-8 text (byte {error.start})") from None
    if data.startswith(_MARK):
        raise NotJson("begins with a byte order mark")
    if _depth(data) > max_depth:
        raise NotJson(f"is JSON nested more than {max_depth} deep")
    try:
        return json.loads(
            data,
            object_pairs_hook=_object,
            parse_constant=_constant,
            parse_float=_real,
            parse_int=partial(_whole, max_digits),
        )
    except NotJson:
        raise
    except json.JSONDecodeError as error:
        raise NotJson(f"is not JSON: {error.msg} (line {error.lineno}, column {error.colno})") from None
    except (ValueError, RecursionError) as error:
        raise NotJson(f"is not JSON: {error}") from None


def _depth(text: str) -> int:
    """How deep the brackets outside of strings are nested; before anything is parsed."""
    deepest = depth = 0
    for bracket in _BRACKETS.findall(_STRINGS.sub("", text)):
        depth += 1 if bracket in "[{" else -1
        deepest = max(deepest, depth)
    return deepest


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise NotJson(f"names {twice[:64]!r} twice in one object")
    return found


def _constant(name: str) -> Any:
    raise NotJson(f"holds {name}, which is not a number in JSON")


def _real(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise NotJson(f"holds {text[:24]}, which is too large a number")
    return number


def _whole(max_digits: int, text: str) -> int:
    if len(text) <= max_digits:
        return int(text)
    if len(text) > 20 or not -MAX_WHOLE <= (number := int(text)) < MAX_WHOLE:
        raise NotJson(f"holds {text[:24]}, which is too large a number")
    return number
