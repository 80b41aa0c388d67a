"""PostgreSQL: points lie in a partition for each week, so that what is too old is dropped and not deleted row by row.

What is there becomes the first partition as it is: nothing is copied. SQLite has no partitions and stays as it is.
"""

import sqlalchemy as sa
from alembic import op

from ota_server.store.partitions import WEEK_MS, week_of

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    connection = op.get_bind()
    if connection.dialect.name != "postgresql":
        return
    now = connection.scalar(sa.text("SELECT (extract(epoch FROM now()) * 1000)::bigint"))
    border = week_of(now) + 2 * WEEK_MS  # what comes until then lies with what is there
    for statement in (
        "ALTER TABLE point RENAME TO point_before",
        "ALTER TABLE point_before DROP CONSTRAINT point_pkey",
        "ALTER INDEX point_time RENAME TO point_before_time",
        "ALTER TABLE point_before ADD CONSTRAINT point_before_pkey PRIMARY KEY (id, at)",
        "CREATE TABLE point (LIKE point_before INCLUDING DEFAULTS, PRIMARY KEY (id, at),"
        " FOREIGN KEY (series_id) REFERENCES series (id)) PARTITION BY RANGE (at)",
        "CREATE INDEX point_time ON point (series_id, at)",
        "ALTER SEQUENCE point_id_seq OWNED BY point.id",
        "CREATE TABLE point_other PARTITION OF point DEFAULT",
        # A clock was wrong: these would not fit.
        f"WITH moved AS (DELETE FROM point_before WHERE at >= {border} RETURNING *)"
        " INSERT INTO point SELECT * FROM moved",
        f"ALTER TABLE point ATTACH PARTITION point_before FOR VALUES FROM (MINVALUE) TO ({border})",
    ):
        op.execute(statement)


def downgrade() -> None:
    if op.get_bind().dialect.name != "postgresql":
        return
    for statement in (
        "CREATE TABLE point_whole (LIKE point INCLUDING DEFAULTS)",
        "INSERT INTO point_whole SELECT * FROM point",
        "ALTER SEQUENCE point_id_seq OWNED BY point_whole.id",
        "DROP TABLE point",
        "ALTER TABLE point_whole RENAME TO point",
        "ALTER TABLE point ADD CONSTRAINT point_pkey PRIMARY KEY (id)",
        "ALTER TABLE point ADD CONSTRAINT point_series_id_fkey FOREIGN KEY (series_id) REFERENCES series (id)",
        "CREATE INDEX point_time ON point (series_id, at)",
    ):
        op.execute(statement)
