"""The table that publishing and rolling out show before they ask: which devices would get what."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tidegate.cli._common import rows


def show_plan(plan: Sequence[dict[str, Any]], product: str) -> None:
    """Print the rows of a server's plan: devices that are alike, what they run, what they would get."""
    lines = [{**row, "runs": row["version"] or "unknown", "gets": _gets(row)} for row in plan]
    columns = {"devices": "DEVICES", "board": "BOARD", "group": "GROUP", "runs": "RUN", "gets": "WOULD GET"}
    if any("ids" in row for row in lines):
        lines = [{**row, "ids": _named(row)} for row in lines]
        columns["ids"] = "WHICH"
    none = f"The server has no devices of {product}."
    rows(lines, columns, f"{none} Are they registered as another product? tidegate device set ID --product {product}")


def _gets(row: dict[str, Any]) -> str:
    what = {"patch": "a patch of {} bytes", "image": "the image, {} bytes", "nothing": "nothing", "unknown": "it"}
    text = what[row["gets"]].format(row["bytes"])
    return f"{text}: {row['why']}" if row["why"] else text


def _named(row: dict[str, Any]) -> str:
    more = row["devices"] - len(row["ids"])
    return " ".join(row["ids"]) + (f" and {more} more" if more > 0 else "")
