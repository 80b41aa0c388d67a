"""Whether a device's application has data components, as its last birth says it."""

import sqlalchemy as sa
from alembic import op

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("device", sa.Column("takes_data", sa.Boolean()))


def downgrade() -> None:
    with op.batch_alter_table("device") as table:
        table.drop_column("takes_data")
