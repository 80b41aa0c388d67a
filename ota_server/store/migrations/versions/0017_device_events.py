"""What happened to devices and stands in no other table; an index to find what the audit log says of one."""

import sqlalchemy as sa
from alembic import op

from ota_server.store.models import RowId

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "device_event",
        sa.Column("id", RowId, primary_key=True),
        sa.Column("device_id", sa.String(32), sa.ForeignKey("device.id"), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(8), nullable=False),
        sa.Column("body", sa.JSON(), nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("device_event_device", "device_event", ["device_id", "id"])
    op.create_index("audit_subject", "audit", ["subject", "id"])


def downgrade() -> None:
    op.drop_index("audit_subject", "audit")
    op.drop_table("device_event")
