"""Alembic's entry: runs the migrations on the connection that `store.engine.migrate` hands in."""

from alembic import context

from ota_server.store.models import Base

context.configure(
    connection=context.config.attributes["connection"], target_metadata=Base.metadata, render_as_batch=True
)
with context.begin_transaction():
    context.run_migrations()
