"""PostgreSQL's partitions of the table `point`: one a week, made ahead, dropped whole when all of it is too old.

`point_before` has what came until the migration and a little after; `point_other` what fits nowhere else, such as a
value whose device's clock was wrong. SQLite has no partitions: there is nothing to do then.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from sqlalchemy import text
from sqlalchemy.orm import Session

from ota_server.store.engine import Store

WEEK_MS = 7 * 86_400_000
AHEAD_MS = 2 * WEEK_MS
_MONDAY_MS = 4 * 86_400_000  # 1970 began on a Thursday
_LOCK = 0x746964656761706E  # any number, but always the same
_CHUNK = 500  # series counted in one transaction
_BOUND = re.compile(r"FROM \((MINVALUE|'-?\d+')\) TO \('(-?\d+)'\)")


class Partition(NamedTuple):
    """start, end: ms since 1970, the end not included; start is None for what has no beginning."""

    name: str
    start: int | None
    end: int


def week_of(at: int) -> int:
    """When the week began in which `at` lies, in ms since 1970."""
    return at - (at - _MONDAY_MS) % WEEK_MS


def are_there(store: Store) -> bool:
    return store.on_postgresql


def listed(session: Session) -> list[Partition]:
    """Those for a time, the oldest first."""
    rows = session.execute(
        text(
            "SELECT c.relname, pg_get_expr(c.relpartbound, c.oid) FROM pg_inherits i JOIN pg_class c"
            " ON c.oid = i.inhrelid WHERE i.inhparent = 'point'::regclass"
        )
    )
    found = [(name, _BOUND.search(bound)) for name, bound in rows]
    parts = [
        Partition(name, None if bound[1] == "MINVALUE" else int(bound[1].strip("'")), int(bound[2]))
        for name, bound in found
        if bound is not None
    ]
    return sorted(parts, key=lambda part: part.end)


def make_ahead(store: Store, now: int) -> int:
    """Make the partitions of the weeks to come that are missing; returns how many."""
    made = 0
    with store.read() as session:
        end = listed(session)[-1].end
    while end < now + AHEAD_MS:
        with store.write() as session:
            _one_at_a_time(session)
            end = listed(session)[-1].end  # another server may have been faster
            if end < now + AHEAD_MS:
                bounds = f"FROM ({end}) TO ({end + WEEK_MS})"
                session.execute(text(f"CREATE TABLE point_{end} PARTITION OF point FOR VALUES {bounds}"))
                made += 1
    return made


def drop_old(store: Store, border: int) -> int:
    """Drop the partitions of which everything is older than `border`; returns how many points that were."""
    gone = 0
    while True:
        with store.write() as session:
            _one_at_a_time(session)
            old = [part for part in listed(session)[:-1] if part.end <= border]
            if not old:
                return gone
            name = old[0].name
            rows = session.execute(
                text(f"SELECT series_id, count(*) FROM {name} GROUP BY series_id ORDER BY series_id")
            )
            counts = [{"series": row[0], "count": row[1]} for row in rows]
            session.execute(text(f"DROP TABLE {name}"))
        gone += sum(one["count"] for one in counts)
        for start in range(0, len(counts), _CHUNK):  # should this be cut short, devices may store a few more
            with store.write() as session:
                fewer = text("UPDATE series SET points = greatest(points - :count, 0) WHERE id = :series")
                session.execute(fewer, counts[start : start + _CHUNK])


def border_for_rows(store: Store, border: int) -> int:
    """Up to when rows are deleted one by one: what lies in a partition for a week goes with all of it."""
    with store.read() as session:
        weeks = [part.start for part in listed(session) if part.start is not None]
    return min([border, *weeks[:1]]) if weeks else border


def _one_at_a_time(session: Session) -> None:
    """Others that file or read wait while a partition comes or goes: not for long, and not behind another server."""
    session.execute(text("SET LOCAL lock_timeout = '3s'"))
    session.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
