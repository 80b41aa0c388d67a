"""Telemetry by the minute, the hour and the day."""

import sqlalchemy as sa
from alembic import op

from ota_server.store.models import RowId

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "rollup",
        sa.Column("series_id", RowId, sa.ForeignKey("series.id"), primary_key=True, autoincrement=False),
        sa.Column("step_ms", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("at", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("least", sa.Double(), nullable=False),
        sa.Column("most", sa.Double(), nullable=False),
        sa.Column("total", sa.Double(), nullable=False),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    op.drop_table("rollup")
    op.execute("DELETE FROM progress WHERE name = 'roll-ups'")
