"""What is known of samples, rounds and versions, in SQL."""

from tidemill_registry import round_tables  # noqa: F401  (they belong to the metadata)
from tidemill_registry.migration import migrate
from tidemill_registry.registry import Registry

__all__ = ["Registry", "migrate"]
