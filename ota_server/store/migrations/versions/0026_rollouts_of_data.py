"""Rollouts in waves of data components and of trust updates, which may be held back for them."""

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None

RowId = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    for name in ("data_target", "trust_update"):
        op.add_column(name, sa.Column("held", sa.Boolean(), nullable=False, server_default=sa.false()))
    with op.batch_alter_table("rollout") as table:
        table.add_column(sa.Column("subject_product", sa.String(64)))
        table.add_column(sa.Column("subject_version", sa.String(64)))
        table.add_column(sa.Column("subject_sequence", sa.BigInteger()))
        table.alter_column("release_id", existing_type=RowId, nullable=True)
    with op.batch_alter_table("rollout_device") as table:
        table.add_column(sa.Column("data_target_id", RowId))
        table.add_column(sa.Column("trust_version", sa.BigInteger()))
        table.alter_column("target_id", existing_type=RowId, nullable=True)
        table.create_foreign_key("rollout_device_data", "data_target", ["data_target_id"], ["id"])
        table.create_foreign_key("rollout_device_trust", "trust_update", ["trust_version"], ["version"])
    with_trust = sa.text("trust_version IS NOT NULL")
    op.create_index(
        "rollout_device_trust_version",
        "rollout_device",
        ["device_id"],
        sqlite_where=with_trust,
        postgresql_where=with_trust,
    )


def downgrade() -> None:
    # What the version before does not know: its rollouts go, and what was held back reaches all.
    op.drop_index("rollout_device_trust_version", "rollout_device")
    strange = "SELECT id FROM rollout WHERE release_id IS NULL"
    for name in ("rollout_device", "rollout_event", "rollout_evidence"):
        op.execute(f"DELETE FROM {name} WHERE rollout_id IN ({strange})")
    op.execute("DELETE FROM rollout WHERE release_id IS NULL")
    with op.batch_alter_table("rollout_device") as table:
        table.drop_column("trust_version")
        table.drop_column("data_target_id")
        table.alter_column("target_id", existing_type=RowId, nullable=False)
    with op.batch_alter_table("rollout") as table:
        table.drop_column("subject_product")
        table.drop_column("subject_version")
        table.drop_column("subject_sequence")
        table.alter_column("release_id", existing_type=RowId, nullable=False)
    for name in ("trust_update", "data_target"):
        with op.batch_alter_table(name) as table:
            table.drop_column("held")
