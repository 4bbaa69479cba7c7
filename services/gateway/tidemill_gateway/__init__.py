"""The gateway. What gRPC reads from the environment when it is imported is set before anybody imports it."""

import os

GRPC_EXPERIMENTS = ",".join(
    f"-event_engine_{part}" for part in ("listener", "client", "for_all_other_endpoints", "callback_cq")
)
"""Calls that take fewer turns between threads: docs/adr/0060."""
os.environ.setdefault("GRPC_EXPERIMENTS", GRPC_EXPERIMENTS)
