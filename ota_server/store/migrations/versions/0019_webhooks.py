"""Webhooks, what is to be sent to them, and the log of it."""

import sqlalchemy as sa
from alembic import op

from ota_server.store.models import RowId

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "webhook",
        sa.Column("id", RowId, primary_key=True),
        sa.Column("url", sa.String(512), nullable=False),
        sa.Column("events", sa.String(256), nullable=False),
        sa.Column("private", sa.Boolean(), nullable=False),
        sa.Column("salt", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("removed_at", sa.BigInteger()),
    )
    op.create_table(
        "webhook_delivery",
        sa.Column("id", RowId, primary_key=True),
        sa.Column("webhook_id", RowId, sa.ForeignKey("webhook.id"), nullable=False),
        sa.Column("message", sa.String(40), nullable=False),
        sa.Column("event", sa.String(24), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(10), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("next_at", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.Integer()),
        sa.Column("why", sa.String(200)),
        sa.Column("ended_at", sa.BigInteger()),
    )
    op.create_index("webhook_delivery_webhook", "webhook_delivery", ["webhook_id", "id"])
    waiting = sa.text("state = 'waiting'")
    op.create_index(
        "webhook_delivery_waiting",
        "webhook_delivery",
        ["webhook_id", "next_at"],
        sqlite_where=waiting,
        postgresql_where=waiting,
    )


def downgrade() -> None:
    op.drop_table("webhook_delivery")
    op.drop_table("webhook")
