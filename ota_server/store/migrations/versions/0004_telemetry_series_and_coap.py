"""Telemetry by stream, series and time in place of one wide row a measurement; CoAP credentials and sessions."""

import sqlalchemy as sa
from alembic import op

from ota_server.store.models import RowId

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_COPY = (
    "INSERT INTO series (device_id, stream, name, at, points) "
    "SELECT device_id, stream, name, max(at), count(*) FROM measurement GROUP BY device_id, stream, name",
    "INSERT INTO point (series_id, at, number, text) SELECT series.id, measurement.at, measurement.number, "
    "measurement.text FROM measurement JOIN series ON series.device_id = measurement.device_id "
    "AND series.stream = measurement.stream AND series.name = measurement.name ORDER BY measurement.id",
    "INSERT INTO stream (device_id, name, at, packs, repeated, dropped, drop_mark, seen) "
    "SELECT device_id, stream, max(at), 0, 0, 0, 0, {empty} FROM series GROUP BY device_id, stream",
    # The newest value of each: the last of the points that have the newest time.
    "UPDATE series SET number = (SELECT number FROM point WHERE point.series_id = series.id "
    "ORDER BY point.at DESC, point.id DESC LIMIT 1), text = (SELECT text FROM point WHERE point.series_id = series.id "
    "ORDER BY point.at DESC, point.id DESC LIMIT 1), unit = (SELECT unit FROM latest "
    "WHERE latest.device_id = series.device_id AND latest.name = series.name)",
)


def upgrade() -> None:
    op.create_table(
        "stream",
        sa.Column("device_id", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("packs", sa.BigInteger(), nullable=False),
        sa.Column("repeated", sa.BigInteger(), nullable=False),
        sa.Column("dropped", sa.BigInteger(), nullable=False),
        sa.Column("drop_mark", sa.BigInteger(), nullable=False),
        sa.Column("seen", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["device_id"], ["device.id"]),
        sa.PrimaryKeyConstraint("device_id", "name"),
    )
    op.create_table(
        "series",
        sa.Column("id", RowId, nullable=False),
        sa.Column("device_id", sa.String(length=32), nullable=False),
        sa.Column("stream", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("unit", sa.String(length=16), nullable=True),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("number", sa.Double(), nullable=True),
        sa.Column("text", sa.String(length=256), nullable=True),
        sa.Column("points", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["device_id"], ["device.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("device_id", "stream", "name"),
    )
    op.create_table(
        "point",
        sa.Column("id", RowId, nullable=False),
        sa.Column("series_id", RowId, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("number", sa.Double(), nullable=True),
        sa.Column("text", sa.String(length=256), nullable=True),
        sa.ForeignKeyConstraint(["series_id"], ["series.id"]),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    op.create_index("point_time", "point", ["series_id", "at"])
    op.create_table(
        "coap_session",
        sa.Column("device_id", sa.String(length=32), nullable=False),
        sa.Column("salt", sa.LargeBinary(), nullable=False),
        sa.Column("echo", sa.LargeBinary(), nullable=True),
        sa.Column("counter", sa.BigInteger(), nullable=False),
        sa.Column("window", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["device_id"], ["device.id"]),
        sa.PrimaryKeyConstraint("device_id"),
    )
    empty = "''::bytea" if op.get_bind().dialect.name == "postgresql" else "x''"
    for statement in _COPY:
        op.execute(statement.format(empty=empty))
    op.drop_table("measurement")
    op.drop_table("latest")


def downgrade() -> None:
    op.create_table(
        "latest",
        sa.Column("device_id", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("unit", sa.String(length=16), nullable=True),
        sa.Column("number", sa.Float(), nullable=True),
        sa.Column("text", sa.String(length=256), nullable=True),
        sa.ForeignKeyConstraint(["device_id"], ["device.id"]),
        sa.PrimaryKeyConstraint("device_id", "name"),
    )
    op.create_table(
        "measurement",
        sa.Column("id", RowId, nullable=False),
        sa.Column("device_id", sa.String(length=32), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("stream", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("unit", sa.String(length=16), nullable=True),
        sa.Column("number", sa.Float(), nullable=True),
        sa.Column("text", sa.String(length=256), nullable=True),
        sa.ForeignKeyConstraint(["device_id"], ["device.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("measurement_device", "measurement", ["device_id", "id"])
    op.create_index("measurement_name", "measurement", ["device_id", "name", "id"])
    op.execute(
        "INSERT INTO measurement (device_id, at, stream, name, unit, number, text) SELECT series.device_id, point.at, "
        "series.stream, series.name, series.unit, point.number, point.text "
        "FROM point JOIN series ON series.id = point.series_id ORDER BY point.id"
    )
    # A name may be in several streams now, but was unique before: the newest of them stays.
    op.execute(
        "INSERT INTO latest (device_id, name, at, unit, number, text) SELECT device_id, name, at, unit, number, text "
        "FROM series WHERE id IN (SELECT max(a.id) FROM series AS a WHERE a.at = (SELECT max(b.at) FROM series AS b "
        "WHERE b.device_id = a.device_id AND b.name = a.name) GROUP BY a.device_id, a.name)"
    )
    for table in ("coap_session", "point", "series", "stream"):
        op.drop_table(table)
