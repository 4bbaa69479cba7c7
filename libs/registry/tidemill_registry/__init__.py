"""What is known of samples, rounds and versions, in SQL."""

from tidemill_registry.migration import migrate
from tidemill_registry.registry import Registry

__all__ = ["Registry", "migrate"]
