"""Pages of lists that grow at one end, by the ids of their rows: never by times, which clocks set back."""

from __future__ import annotations

from typing import Any, NamedTuple

from sqlalchemy import Select

MOST_ID = 2**53  # of rows: what JSON numbers hold exactly


class Place(NamedTuple):
    """Where a page begins.

    since: only rows after this id, the oldest first, so that whoever asks on with the last id that it got misses none.
    Without it the newest come first; before: only those below this id.
    """

    since: int | None = None
    before: int | None = None


def page(statement: Select[Any], row_id: Any, limit: int, place: Place) -> Select[Any]:
    """The statement for one page, in the order that its place asks for."""
    if place.before is not None:
        statement = statement.where(row_id < place.before)
    if place.since is not None:
        return statement.where(row_id > place.since).order_by(row_id).limit(limit)
    return statement.order_by(row_id.desc()).limit(limit)
