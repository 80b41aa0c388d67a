"""How many devices ran which version: a count every six hours."""

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "version_count",
        sa.Column("slot", sa.BigInteger(), nullable=False),
        sa.Column("product", sa.String(64), nullable=False),
        sa.Column("version", sa.String(64), nullable=False),
        sa.Column("devices", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("slot", "product", "version"),
    )


def downgrade() -> None:
    op.drop_table("version_count")
