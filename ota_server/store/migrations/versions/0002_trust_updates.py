"""Published trust updates, what each device was sent of them, and releases that a rotation withdrew."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "trust_update",
        sa.Column("version", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("document", sa.LargeBinary(), nullable=False),
        sa.Column("store", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("version"),
    )
    op.add_column("device", sa.Column("trust_sent", sa.BigInteger(), nullable=True))
    op.add_column("target", sa.Column("withdrawn", sa.Boolean(), nullable=False, server_default=sa.false()))


def downgrade() -> None:
    with op.batch_alter_table("target") as table:
        table.drop_column("withdrawn")
    with op.batch_alter_table("device") as table:
        table.drop_column("trust_sent")
    op.drop_table("trust_update")
