"""What a device signed of its last birth, passed on to the operator's tools as it came."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("device") as table:
        table.add_column(sa.Column("birth_proof", sa.String(1024)))


def downgrade() -> None:
    with op.batch_alter_table("device") as table:
        table.drop_column("birth_proof")
