"""Points in partitions on PostgreSQL: they come, they go whole, and nobody who reads or files sees them."""

from __future__ import annotations

import large_database
import pytest
from at_once import together
from sqlalchemy import delete, func, insert, select, text

from ota_server.store import Store, now_ms, partitions, retention, telemetry
from ota_server.store.models import Point, Series
from ota_server.store.partitions import WEEK_MS, week_of

pytestmark = pytest.mark.parametrize("empty", ["postgresql"], indirect=True)
DAY_MS = 86_400_000


@pytest.fixture
def store(empty) -> Store:
    store = large_database.fill(empty, devices=1, series=2)
    with store.write() as session:
        session.execute(text("UPDATE series SET points = 0"))
    yield store
    store.close()


def file(store: Store, *times: int) -> None:
    with store.write() as session:
        series = session.scalars(select(Series.id).order_by(Series.id)).all()
        for at in times:
            session.execute(insert(Point), [{"series_id": one, "at": at, "number": 1.0} for one in series])
        session.execute(text("UPDATE series SET points = points + :n"), {"n": len(times)})


def parts(store: Store) -> list[partitions.Partition]:
    with store.read() as session:
        return partitions.listed(session)


def rows(store: Store, table: str = "point") -> int:
    with store.read() as session:
        return session.scalar(text(f"SELECT count(*) FROM {table}"))


def test_weeks_are_made_ahead_and_once(store):
    first = parts(store)
    assert [part.name for part in first] == ["point_before"] and first[0].end == week_of(now_ms()) + 2 * WEEK_MS
    later = now_ms() + 30 * DAY_MS
    together(3, lambda _number: partitions.make_ahead(store, later))
    made = parts(store)
    assert made[-1].end >= later + 2 * WEEK_MS and len({part.end for part in made}) == len(made)
    assert all(one.end == other.start for one, other in zip(made, made[1:], strict=False)), "without a gap"
    assert partitions.make_ahead(store, later) == 0


def test_what_is_too_old_goes_whole_and_the_rest_stays(store):
    now = now_ms()
    partitions.make_ahead(store, now + 60 * DAY_MS)
    weeks = [part for part in parts(store) if part.start is not None]
    inside = [week.start + DAY_MS for week in weeks]
    file(store, now - DAY_MS, *inside, now - 4000 * DAY_MS, now + 4000 * DAY_MS)
    assert rows(store, "point_other") == 2 and rows(store, "point_before") == 4
    border = weeks[1].end + 2 * DAY_MS  # in the middle of a week
    assert partitions.drop_old(store, border) == 4 + 2 * 2
    assert [part.name for part in parts(store)] == [part.name for part in weeks[2:]]
    assert partitions.border_for_rows(store, border) == weeks[2].start
    with store.read() as session:
        assert session.scalar(select(func.sum(Series.points))) == rows(store) == 2 * (len(inside) - 2 + 1)
        newest = telemetry.history(session, large_database.device_id(0), telemetry.Query(until=now + 3000 * DAY_MS), 3)
        assert [point.at for point, _ in newest] == [inside[-1], inside[-1], inside[-2]]
    file(store, now - 5 * DAY_MS)  # it comes late: its partition is gone, and it is filed all the same
    assert rows(store, "point_other") == 4


def test_retention_deletes_rows_only_where_a_partition_stays(store):
    now = now_ms()
    file(store, now - 10 * DAY_MS, now - 4 * DAY_MS, now)
    assert retention.prune_old(store, retention.Keep(days=5)) == 2
    assert rows(store) == 4 and parts(store)[-1].end >= now + 2 * WEEK_MS


def test_what_was_there_is_taken_along_and_back(store):
    from alembic import command
    from alembic.config import Config

    from ota_server.store import engine

    file(store, now_ms() - DAY_MS, now_ms() + 4000 * DAY_MS)
    partitions.make_ahead(store, now_ms() + 30 * DAY_MS)
    config = Config()
    config.set_main_option("script_location", str(engine.Path(engine.__file__).parent / "migrations"))
    with store.engine.begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "0015")
        assert connection.scalar(text("SELECT relkind FROM pg_class WHERE oid = 'point'::regclass")) in ("r", b"r")
        assert connection.scalar(select(func.count(Point.id))) == 4
        command.upgrade(config, "head")
        assert connection.scalar(text("SELECT relkind FROM pg_class WHERE oid = 'point'::regclass")) in ("p", b"p")
    with store.read() as session:
        last = session.scalar(select(func.max(Point.id)))
    file(store, now_ms())
    with store.read() as session:
        assert session.scalar(select(func.max(Point.id))) == last + 2, "numbers go on"
    assert rows(store) == 6 and rows(store, "point_other") == 2


def test_the_oldest_of_too_many_are_deleted_in_their_weeks_alone(store):
    now = now_ms()
    partitions.make_ahead(store, now + 60 * DAY_MS)
    weeks = [part for part in parts(store) if part.start is not None]
    file(store, *(week.start + hour * DAY_MS // 24 for week in weeks for hour in range(10)))
    with store.read() as session:
        series = session.scalars(select(Series.id)).all()
        first = weeks[0].start
        words = delete(Point).where(retention._stretch(series, first, first + DAY_MS))
        compiled = words.compile(session.get_bind(), compile_kwargs={"literal_binds": True})
        plan = "\n".join(row[0] for row in session.execute(text(f"EXPLAIN {compiled}")))
    assert [week.name for week in weeks if week.name in plan] == [weeks[0].name], plan
    assert "point_before" not in plan
    kept = retention.Keep(days=10_000, rows=20)
    assert retention.prune_many(store, kept) == 2 * 10 * len(weeks) - 20
    with store.read() as session:
        left = session.scalars(select(Point.at)).all()
        assert len(left) == 20 and min(left) >= weeks[-1].start
        assert session.scalar(select(func.sum(Series.points))) == 20
