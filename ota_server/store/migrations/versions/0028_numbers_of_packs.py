"""Numbers of the packs that are filed: those without a time are known by them when they come again."""

import sqlalchemy as sa
from alembic import op

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("stream", sa.Column("counts", sa.LargeBinary()))


def downgrade() -> None:
    with op.batch_alter_table("stream") as table:
        table.drop_column("counts")
