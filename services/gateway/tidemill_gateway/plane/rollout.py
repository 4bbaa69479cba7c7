"""Where a caller stands while a model's traffic is shared (`tidemill_contracts.rollout`)."""

from __future__ import annotations

import hashlib

_POINTS = 2**64


def sticky_point(model: str, key: str) -> float:
    """Where a caller stands in [0, 100): always the same for one model and key, evenly spread over keys."""
    digest = hashlib.blake2b(f"{model}\n{key}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) * 100.0 / _POINTS
