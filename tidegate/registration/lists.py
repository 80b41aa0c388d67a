"""Lists of devices to register: CSV with a heading, or JSON Lines. An error names the line and what to do about it."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tidegate import json_text
from tidegate.client.server import MAX_DEVICES
from tidegate.errors import TidegateError
from tidegate.files import read_limited
from tidegate.names import BOARD, DEVICE_ID, PRODUCT, Name

MAX_FILE = 16 << 20  # bytes
_COLUMNS: dict[str, Name] = {"id": DEVICE_ID, "board": BOARD, "product": PRODUCT}
_REMEDY = "Write a heading like id,board,product and a line for each device, or a JSON object in each line"


class Listed(NamedTuple):
    """A device to register."""

    id: str
    board: str
    product: str


def read(path: Path, board: str | None, product: str) -> list[Listed]:
    """The devices in a file, in its order; board, product: of those whose line has none. Raises TidegateError."""
    text = _text(path)
    rows = _json_lines(path, text) if text.lstrip()[:1] == "{" else _csv(path, text)
    found: list[Listed] = []
    lines: dict[str, int] = {}
    for line, row in rows:
        values = {"board": board, "product": product, **{name: value for name, value in row.items() if value != ""}}
        for name, kind in _COLUMNS.items():
            value = values.get(name)
            if value is None:
                raise _wrong(path, line, f"there is no {name}", f"Add it{' or give --board' * (name == 'board')}")
            if not kind.fits(value):
                raise _wrong(path, line, kind.refusal(value), kind.remedy)
        one = Listed(**values)
        if one.id in lines:
            raise _wrong(path, line, f"{one.id} is in line {lines[one.id]} already", "Remove one of them")
        if len(found) == MAX_DEVICES:
            raise _wrong(path, line, f"there are more than {MAX_DEVICES} devices", "Register them in several lists")
        lines[one.id] = line
        found.append(one)
    if not found:
        raise TidegateError(f"{path} lists no device", _REMEDY)
    return found


def _text(path: Path) -> str:
    try:
        return read_limited(path, MAX_FILE, "list of devices").decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise TidegateError(f"{path} is not UTF-8 text (byte {error.start})", "Save it as UTF-8") from error


def _csv(path: Path, text: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    heading: list[str] | None = None
    try:
        for cells in reader:
            values = [cell.strip() for cell in cells]
            if not any(values):
                continue
            if heading is None:
                heading = _heading(path, reader.line_num, values)
            elif len(values) != len(heading):
                what = f"it has {len(values)} cells, the heading has {len(heading)}"
                raise _wrong(path, reader.line_num, what, "Separate cells with commas, one line a device")
            else:
                yield reader.line_num, dict(zip(heading, values, strict=True))
    except csv.Error as error:
        raise _wrong(path, reader.line_num, f"it is not CSV: {error}", _REMEDY) from error


def _heading(path: Path, line: int, names: list[str]) -> list[str]:
    if "id" not in names or len(set(names)) != len(names) or not set(names) <= set(_COLUMNS):
        raise _wrong(path, line, f"{','.join(names)!r:.80} is not a heading of such a list", _REMEDY)
    return names


def _json_lines(path: Path, text: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for line, one in enumerate(text.split("\n"), 1):
        if not one.strip():
            continue
        try:
            value = json_text.loads(one)
        except json_text.NotJson as error:
            raise _wrong(path, line, f"it {error}", _REMEDY) from error
        if not isinstance(value, dict) or not set(value) <= set(_COLUMNS):
            raise _wrong(path, line, f"it must be an object with {', '.join(_COLUMNS)} and no more", _REMEDY)
        yield line, value


def _wrong(path: Path, line: int, what: str, remedy: str) -> TidegateError:
    return TidegateError(f"{path} line {line}: {what}; nothing was registered", remedy)
