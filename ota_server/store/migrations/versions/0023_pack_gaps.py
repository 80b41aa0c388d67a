"""Packs that never came, found by the numbers that devices give their packs."""

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("stream", sa.Column("number", sa.BigInteger(), nullable=True))
    op.add_column("stream", sa.Column("missing", sa.BigInteger(), nullable=False, server_default="0"))


def downgrade() -> None:
    with op.batch_alter_table("stream") as table:
        table.drop_column("missing")
        table.drop_column("number")
