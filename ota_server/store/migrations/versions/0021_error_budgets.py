"""Error budgets of products."""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "error_budget",
        sa.Column("product", sa.String(64), primary_key=True),
        sa.Column("slo", sa.String(24), nullable=False),
        sa.Column("lifted_until", sa.BigInteger(), nullable=False),
    )


def downgrade() -> None:
    op.drop_table("error_budget")
