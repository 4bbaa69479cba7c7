"""Alembic's scripts; `tidemill_registry.migration` runs them."""
