"""Prometheus text of this process's metrics."""

from __future__ import annotations

from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, generate_latest

CONTENT_TYPE = CONTENT_TYPE_LATEST


def exposition() -> bytes:
    """Every metric of the process, in Prometheus' text format."""
    return generate_latest(REGISTRY)
