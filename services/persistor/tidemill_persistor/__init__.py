"""The persistor. What gRPC reads from the environment when imported is set before anybody imports it."""

import os

GRPC_EXPERIMENTS = ",".join(
    f"-event_engine_{part}" for part in ("listener", "client", "for_all_other_endpoints", "callback_cq")
)
"""Pulls from Pub/Sub that take fewer turns between threads: docs/adr/0060 and 0065."""
os.environ.setdefault("GRPC_EXPERIMENTS", GRPC_EXPERIMENTS)
