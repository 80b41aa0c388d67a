"""Claims; keys, names and revocation of devices."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("device") as table:
        table.add_column(sa.Column("name", sa.String(32)))
        table.add_column(sa.Column("key", sa.LargeBinary()))
        table.add_column(sa.Column("hardware", sa.String(16)))
        table.add_column(sa.Column("past_nonces", sa.String(160), nullable=False, server_default=""))
        table.add_column(sa.Column("cloned_at", sa.BigInteger()))
        table.add_column(sa.Column("revoked_at", sa.BigInteger()))
        table.create_unique_constraint("device_name", ["name"])
    with op.batch_alter_table("coap_session") as table:
        table.add_column(sa.Column("claim_id", sa.String(16)))
    op.create_table(
        "claim",
        sa.Column("id", sa.String(16), primary_key=True),
        sa.Column("device_id", sa.String(32), sa.ForeignKey("device.id")),
        sa.Column("group", sa.String(32), sa.ForeignKey("fleet_group.name"), nullable=False),
        sa.Column("name", sa.String(32)),
        sa.Column("board", sa.String(32)),
        sa.Column("product", sa.String(64)),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("revoked_at", sa.BigInteger()),
        sa.Column("used_at", sa.BigInteger()),
        sa.Column("used_by", sa.String(32), sa.ForeignKey("device.id")),
        sa.Column("key", sa.LargeBinary()),
        sa.Column("salt", sa.LargeBinary()),
        sa.Column("seen_at", sa.BigInteger()),
    )
    op.create_index("claim_used_by", "claim", ["used_by"])


def downgrade() -> None:
    op.drop_table("claim")
    with op.batch_alter_table("coap_session") as table:
        table.drop_column("claim_id")
    with op.batch_alter_table("device") as table:
        table.drop_constraint("device_name", type_="unique")
        for name in ("name", "key", "hardware", "past_nonces", "cloned_at", "revoked_at"):
            table.drop_column(name)
