"""What a release needs of a device: a release to come from, and a MicroPython."""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("target", sa.Column("needs_sequence", sa.BigInteger(), nullable=False, server_default="0"))
    op.add_column("target", sa.Column("needs_micropython", sa.String(12), nullable=False, server_default=""))


def downgrade() -> None:
    with op.batch_alter_table("target") as table:
        table.drop_column("needs_micropython")
        table.drop_column("needs_sequence")
