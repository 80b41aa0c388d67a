"""Which message a report or an alarm was, so that the same one is not filed twice."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for table in ("report", "alarm"):
        op.add_column(table, sa.Column("content", sa.String(32), nullable=True))
        op.add_column(table, sa.Column("occurrence", sa.Integer(), nullable=False, server_default="0"))
        op.create_index(f"{table}_content", table, ["device_id", "content", "occurrence"], unique=True)


def downgrade() -> None:
    for table in ("report", "alarm"):
        op.drop_index(f"{table}_content", table)
        op.drop_column(table, "occurrence")
        op.drop_column(table, "content")
