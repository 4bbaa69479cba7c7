"""Alembic's entry: runs the migrations on the connection that was handed over."""

from __future__ import annotations

from alembic import context

from tidemill_registry import round_tables  # noqa: F401  (they belong to the metadata)
from tidemill_registry.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
