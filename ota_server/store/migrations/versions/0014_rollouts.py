"""Rollouts in waves: their terms, whom they have offered what, what happened, what was compared; labels of devices."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

RowId = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def _device(name: str, nullable: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.String(32), sa.ForeignKey("device.id"), nullable=nullable)


def _rollout() -> sa.Column[int]:
    return sa.Column("rollout_id", RowId, sa.ForeignKey("rollout.id"), nullable=False)


def upgrade() -> None:
    op.create_table(
        "device_label",
        _device("device_id"),
        sa.Column("key", sa.String(32), nullable=False),
        sa.Column("value", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("device_id", "key"),
    )
    op.create_index("device_label_key", "device_label", ["key", "value"])
    op.create_table(
        "rollout",
        sa.Column("id", RowId, primary_key=True),
        sa.Column("release_id", RowId, sa.ForeignKey("release.id"), nullable=False),
        sa.Column("terms", sa.JSON(), nullable=False),
        sa.Column("state", sa.String(8), nullable=False),
        sa.Column("why", sa.String(256)),
        sa.Column("wave", sa.Integer(), nullable=False),
        sa.Column("wave_at", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
    )
    op.create_index("rollout_release", "rollout", ["release_id"])
    op.create_table(
        "rollout_device",
        _rollout(),
        _device("device_id"),
        sa.Column("target_id", RowId, sa.ForeignKey("target.id"), nullable=False),
        sa.Column("wave", sa.Integer(), nullable=False),
        sa.Column("granted_at", sa.BigInteger(), nullable=False),
        sa.Column("withdrawn_at", sa.BigInteger()),
        sa.Column("reached_at", sa.BigInteger()),
        sa.Column("state", sa.String(12), nullable=False),
        sa.Column("state_at", sa.BigInteger(), nullable=False),
        sa.Column("why", sa.String(256)),
        sa.Column("from_version", sa.String(64)),
        _device("control_id", nullable=True),
        sa.PrimaryKeyConstraint("rollout_id", "device_id"),
    )
    op.create_index("rollout_device_device", "rollout_device", ["device_id"])
    op.create_index("rollout_device_granted", "rollout_device", ["granted_at"])
    op.create_table(
        "rollout_event",
        sa.Column("id", RowId, primary_key=True),
        _rollout(),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("by", sa.String(80), nullable=False),
        sa.Column("why", sa.String(256)),
    )
    op.create_index("rollout_event_rollout", "rollout_event", ["rollout_id", "id"])
    op.create_table(
        "rollout_evidence",
        sa.Column("id", RowId, primary_key=True),
        _rollout(),
        _device("device_id"),
        _device("control_id"),
        sa.Column("measure", sa.String(64), nullable=False),
        sa.Column("exposure", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("updated_before", sa.Double(), nullable=False),
        sa.Column("updated_after", sa.Double(), nullable=False),
        sa.Column("control_before", sa.Double(), nullable=False),
        sa.Column("control_after", sa.Double(), nullable=False),
        sa.Column("loss", sa.Integer(), nullable=False),
        sa.UniqueConstraint("rollout_id", "device_id", "measure", "exposure"),
    )


def downgrade() -> None:
    for table in ("rollout_evidence", "rollout_event", "rollout_device", "rollout", "device_label"):
        op.drop_table(table)
