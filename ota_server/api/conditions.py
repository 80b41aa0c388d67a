"""Conditions and ranges of a request for something that never changes, as RFC 9110 orders them (13.2.2, 14.2).

werkzeug answers conditional requests, but refuses what is to be ignored (a unit that it does not know, a Range that is
not valid), compares If-Range weakly, and looks at Range before If-None-Match. So it gets requests that say simply what
is meant.
"""

from __future__ import annotations

import re
from typing import Any

from werkzeug.exceptions import PreconditionFailed, RequestedRangeNotSatisfiable
from werkzeug.http import parse_etags

_BYTES = re.compile(r"[ \t]*bytes=(.*)\Z", re.ASCII | re.DOTALL | re.IGNORECASE)
_RANGE = re.compile(r"([0-9]*)-([0-9]*)\Z", re.ASCII)
_MAX_DIGITS = 18  # a longer number is beyond the end of everything
_FIELDS = ("HTTP_IF_MATCH", "HTTP_IF_UNMODIFIED_SINCE", "HTTP_IF_MODIFIED_SINCE", "HTTP_IF_RANGE", "HTTP_RANGE")


def simplify(environ: dict[str, Any], etag: str, size: int) -> None:
    """Leave at most one of If-None-Match and a Range that is one part of the `size` bytes in the WSGI environment.

    The resource has the strong `etag` (without quotes) and no date of a change, so conditions with dates are ignored.
    Raises PreconditionFailed and RequestedRangeNotSatisfiable.
    """
    fields = {name: environ.pop(name, None) for name in _FIELDS}
    if fields["HTTP_IF_MATCH"] is not None and not _strong(fields["HTTP_IF_MATCH"], etag):
        raise PreconditionFailed
    if environ.get("HTTP_IF_NONE_MATCH") is not None:
        if parse_etags(environ["HTTP_IF_NONE_MATCH"]).contains_weak(etag):
            return
        del environ["HTTP_IF_NONE_MATCH"]
    wanted = fields["HTTP_RANGE"]
    if wanted is None or environ["REQUEST_METHOD"] != "GET":  # 14.2: defined for GET alone
        return
    if fields["HTTP_IF_RANGE"] is not None and fields["HTTP_IF_RANGE"].strip(" \t") != f'"{etag}"':  # 13.1.5: strong
        return
    parts = _parts(wanted, size)
    if parts is None:
        return
    if not parts:
        raise RequestedRangeNotSatisfiable(size)
    if len(parts) == 1:  # several may be answered with the whole (14.2)
        environ["HTTP_RANGE"] = f"bytes={parts[0][0]}-{parts[0][1]}"


def _strong(field: str, etag: str) -> bool:
    tags = parse_etags(field)
    return tags.star_tag or tags.is_strong(etag)


def _parts(field: str, size: int) -> list[tuple[int, int]] | None:
    """The parts that there are, as (first, last); None where the field is to be ignored (14.1.1, 14.1.2)."""
    found = _BYTES.match(field)
    if found is None:
        return None
    parts, seen = [], False
    for one in found[1].split(","):
        spec = one.strip(" \t")
        if not spec:
            continue  # 5.6.1: an empty element of a list counts as none
        numbers = _RANGE.match(spec)
        if numbers is None or spec == "-":
            return None
        seen = True
        first, last = (_number(text) for text in numbers.groups())
        if first is None:
            length = min(last or 0, size)
            first, last = size - length, size - 1
        elif last is None:
            last = size - 1
        elif last < first:
            return None
        if first < size and last >= first:
            parts.append((first, min(last, size - 1)))
    return parts if seen else None


def _number(digits: str) -> int | None:
    if not digits:
        return None
    digits = digits.lstrip("0") or "0"
    return int(digits) if len(digits) <= _MAX_DIGITS else 10**_MAX_DIGITS
