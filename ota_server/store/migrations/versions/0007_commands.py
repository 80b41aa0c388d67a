"""The way of a command, step by step; answers in parts; traces of crashes."""

import sqlalchemy as sa
from alembic import op

from ota_server.store.models import RowId

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("alarm", sa.Column("trace", sa.Text(), nullable=True))
    with op.batch_alter_table("command") as table:
        table.alter_column("state", type_=sa.String(12), existing_type=sa.String(8), existing_nullable=False)
        table.alter_column("kid", type_=sa.String(80), existing_type=sa.String(16), existing_nullable=False)
        table.alter_column("message", nullable=True, existing_type=sa.LargeBinary())
        table.alter_column("sent_at", new_column_name="uplinked_at", existing_type=sa.BigInteger())
        table.add_column(sa.Column("digest", sa.String(64), nullable=True))
        table.add_column(sa.Column("role", sa.String(8), nullable=True))
        table.add_column(sa.Column("nonce", sa.String(16), nullable=True))
        table.add_column(sa.Column("claimed_at", sa.BigInteger(), nullable=True))
        table.add_column(sa.Column("outcome", sa.String(8), nullable=True))
        table.add_column(sa.Column("parts", sa.BigInteger(), nullable=True))
        table.add_column(sa.Column("output_size", sa.BigInteger(), nullable=False, server_default="0"))
        table.add_column(sa.Column("truncated", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.create_index("command_device_state", "command", ["device_id", "state"])
    op.create_table(
        "command_step",
        sa.Column("id", RowId, primary_key=True),
        sa.Column("command_id", RowId, sa.ForeignKey("command.id", ondelete="CASCADE"), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(12), nullable=False),
        sa.Column("by", sa.String(80), nullable=False),
        sa.Column("why", sa.String(256), nullable=True),
    )
    op.create_index("command_step_command", "command_step", ["command_id", "id"])
    op.create_table(
        "command_part",
        sa.Column("command_id", RowId, sa.ForeignKey("command.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("number", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("text", sa.Text(), nullable=False),
    )
    _carry_over()


def _carry_over() -> None:
    """Commands of before: what the device answered becomes the outcome, and the one step we know their history.

    Those that wait are checked by the worker before they go out, as new ones are.
    """
    op.execute("UPDATE command SET outcome = state WHERE state IN ('done', 'failed', 'refused')")
    op.execute("UPDATE command SET state = 'confirmed' WHERE state IN ('done', 'failed')")
    op.execute("UPDATE command SET state = 'uplinked' WHERE state = 'sent'")
    op.execute(
        "INSERT INTO command_step (command_id, at, state, by, why) "
        "SELECT id, COALESCE(ended_at, uplinked_at, created_at), state, 'server', why FROM command"
    )


def downgrade() -> None:
    op.drop_table("command_part")
    op.drop_table("command_step")
    op.execute("UPDATE command SET state = outcome WHERE state IN ('confirmed', 'archived') AND outcome IS NOT NULL")
    op.execute("UPDATE command SET state = 'pending' WHERE state = 'verified'")
    op.execute("UPDATE command SET state = 'sent' WHERE state = 'uplinked'")
    op.execute("UPDATE command SET state = 'expired' WHERE state = 'cancelled'")
    erased = sa.table("command", sa.column("message", sa.LargeBinary()))
    op.execute(erased.update().where(erased.c.message.is_(None)).values(message=b""))
    op.drop_index("command_device_state", "command")
    with op.batch_alter_table("command") as table:
        for name in ("truncated", "output_size", "parts", "outcome", "claimed_at", "nonce", "role", "digest"):
            table.drop_column(name)
        table.alter_column("uplinked_at", new_column_name="sent_at", existing_type=sa.BigInteger())
        table.alter_column("message", nullable=False, existing_type=sa.LargeBinary())
    with op.batch_alter_table("alarm") as table:
        table.drop_column("trace")
