"""Runs migrations on the connection that the caller gives."""

from __future__ import annotations

from alembic import context

from workbench.migrations.tables import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    render_as_batch=True,
    compare_type=True,
    transactional_ddl=True,  # on SQLite too: a process that dies leaves a whole revision
    transaction_per_migration=True,
)
with context.begin_transaction():
    context.run_migrations()
