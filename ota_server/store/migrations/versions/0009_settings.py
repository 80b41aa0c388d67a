"""Which releases stand in which channel; what devices are set to, as they say it."""

import sqlalchemy as sa
from alembic import op

from ota_server.store.models import RowId

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "channel_release",
        sa.Column("channel", sa.String(32), primary_key=True),
        sa.Column("release_id", RowId, sa.ForeignKey("release.id"), primary_key=True),
        sa.Column("since", sa.BigInteger(), nullable=False),
    )
    op.execute("INSERT INTO channel_release (channel, release_id, since) SELECT channel, id, created_at FROM release")
    with op.batch_alter_table("device") as table:
        table.add_column(sa.Column("settings", sa.JSON()))
        table.add_column(sa.Column("settings_digest", sa.String(8)))


def downgrade() -> None:
    with op.batch_alter_table("device") as table:
        table.drop_column("settings_digest")
        table.drop_column("settings")
    op.drop_table("channel_release")
