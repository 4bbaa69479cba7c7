"""What gRPC reads from the environment when it is imported. Imports nothing that imports gRPC."""

from __future__ import annotations

import os

EXPERIMENTS = ",".join(
    f"-event_engine_{part}" for part in ("listener", "client", "for_all_other_endpoints", "callback_cq")
)
"""Calls that take fewer turns between threads: docs/adr/0060 and 0065."""


def prepare_grpc() -> None:
    """Call it before anybody imports gRPC. What a person has set stays."""
    os.environ.setdefault("GRPC_EXPERIMENTS", EXPERIMENTS)
