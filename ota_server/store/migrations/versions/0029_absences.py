"""Times in which nobody heard the devices: deadlines of rollouts stand still in them."""

import sqlalchemy as sa
from alembic import op

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None

RowId = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    op.create_table(
        "absence",
        sa.Column("id", RowId, primary_key=True),
        sa.Column("began", sa.BigInteger(), nullable=False),
        sa.Column("ended", sa.BigInteger(), nullable=False),
    )


def downgrade() -> None:
    op.drop_table("absence")
