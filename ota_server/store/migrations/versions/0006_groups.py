"""Groups of devices, and channels of releases that groups follow."""

import sqlalchemy as sa
from alembic import op

from ota_server.store.models import RowId

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    group = op.create_table(
        "fleet_group",
        sa.Column("name", sa.String(32), primary_key=True),
        sa.Column("channel", sa.String(32), nullable=False, server_default="stable"),
        sa.Column("release_id", RowId, sa.ForeignKey("release.id")),
        sa.Column("settings", sa.JSON()),
    )
    op.bulk_insert(group, [{"name": "default", "channel": "stable"}])
    op.add_column("release", sa.Column("channel", sa.String(32), nullable=False, server_default="stable"))
    with op.batch_alter_table("device") as table:
        table.add_column(sa.Column("group", sa.String(32), nullable=False, server_default="default"))
        table.create_foreign_key("device_group", "fleet_group", ["group"], ["name"])


def downgrade() -> None:
    with op.batch_alter_table("device") as table:
        table.drop_constraint("device_group", type_="foreignkey")
        table.drop_column("group")
    with op.batch_alter_table("release") as table:
        table.drop_column("channel")
    op.drop_table("fleet_group")
