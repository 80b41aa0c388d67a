"""How far housekeeping has come, when the clock was right last, and indexes for what is looked for all the time."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def _only(condition: str) -> dict[str, Any]:
    return {"sqlite_where": sa.text(condition), "postgresql_where": sa.text(condition)}


def upgrade() -> None:
    op.create_table(
        "progress",
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("value", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "clock_seen",
        sa.Column("boot", sa.String(64), primary_key=True),
        sa.Column("wall", sa.BigInteger(), nullable=False),
        sa.Column("up", sa.BigInteger(), nullable=False),
        sa.Column("accepted", sa.BigInteger()),
    )
    op.drop_index("command_state", "command")
    op.create_index("command_state_expiry", "command", ["state", "expires_at"])
    op.create_index("command_message", "command", ["expires_at"], **_only("message IS NOT NULL"))


def downgrade() -> None:
    op.drop_index("command_message", "command")
    op.drop_index("command_state_expiry", "command")
    op.create_index("command_state", "command", ["state"])
    op.drop_table("clock_seen")
    op.drop_table("progress")
