"""Who is signed in at the page, and what people said about alarms."""

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None

RowId = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    op.create_table(
        "web_session",
        sa.Column("hash", sa.String(64), primary_key=True),
        sa.Column("token_id", RowId, sa.ForeignKey("token.id")),
        sa.Column("who", sa.String(80), nullable=False),
        sa.Column("scopes", sa.String(128), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "alarm_mute",
        sa.Column("id", RowId, primary_key=True),
        sa.Column("device_id", sa.String(32), sa.ForeignKey("device.id")),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.Column("by", sa.String(80), nullable=False),
        sa.Column("why", sa.String(200)),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
    )
    with op.batch_alter_table("alarm") as table:
        table.add_column(sa.Column("acknowledged_at", sa.BigInteger()))
        table.add_column(sa.Column("acknowledged_by", sa.String(80)))


def downgrade() -> None:
    with op.batch_alter_table("alarm") as table:
        table.drop_column("acknowledged_by")
        table.drop_column("acknowledged_at")
    op.drop_table("alarm_mute")
    op.drop_table("web_session")
