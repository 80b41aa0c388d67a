"""Data components: what was published, and what each device holds and is offered."""

import sqlalchemy as sa
from alembic import op

from ota_server.store.models import RowId

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "data_target",
        sa.Column("id", RowId, nullable=False),
        sa.Column("product", sa.String(length=64), nullable=False),
        sa.Column("board", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(length=24), nullable=False),
        sa.Column("version", sa.String(length=32), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("envelope", sa.LargeBinary(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("product", "board", "name", "sequence"),
    )
    op.create_table(
        "device_data",
        sa.Column("device_id", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(length=24), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=True),
        sa.Column("digest", sa.String(length=64), nullable=True),
        sa.Column("update", sa.JSON(), nullable=True),
        sa.Column("failed_sequence", sa.BigInteger(), nullable=True),
        sa.Column("offer_id", RowId, nullable=True),
        sa.Column("offer_sent_id", RowId, nullable=True),
        sa.ForeignKeyConstraint(["device_id"], ["device.id"]),
        sa.ForeignKeyConstraint(["offer_id"], ["data_target.id"]),
        sa.ForeignKeyConstraint(["offer_sent_id"], ["data_target.id"]),
        sa.PrimaryKeyConstraint("device_id", "name"),
    )


def downgrade() -> None:
    op.drop_table("device_data")
    op.drop_table("data_target")
