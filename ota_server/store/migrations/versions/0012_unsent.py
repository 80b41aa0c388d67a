"""Indexes for what the broker does not have yet; which worker is publishing it."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def _unsent(name: str, table: str, column: str) -> None:
    op.create_index(
        name,
        table,
        [column],
        sqlite_where=sa.text("offer_id IS NOT offer_sent_id"),
        postgresql_where=sa.text("offer_id IS DISTINCT FROM offer_sent_id"),
    )


def upgrade() -> None:
    op.add_column("device", sa.Column("claimed_until", sa.BigInteger()))
    op.add_column("device_data", sa.Column("claimed_until", sa.BigInteger()))
    _unsent("device_unsent", "device", "id")
    _unsent("device_data_unsent", "device_data", "device_id")
    op.create_index("device_trust", "device", ["trust_version", "trust_sent"])
    op.create_index("device_group", "device", ["group"])


def downgrade() -> None:
    for name in ("device_group", "device_trust", "device_unsent"):
        op.drop_index(name, "device")
    op.drop_index("device_data_unsent", "device_data")
    with op.batch_alter_table("device_data") as table:
        table.drop_column("claimed_until")
    with op.batch_alter_table("device") as table:
        table.drop_column("claimed_until")
