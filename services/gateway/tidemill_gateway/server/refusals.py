"""Counts what never became a request: broken, too large, too slow, or one connection too many."""

from __future__ import annotations

from prometheus_client import Counter

REFUSALS = Counter(
    "tidemill_gateway_http_refusals_total", "Requests refused before anybody looked at them", ["status"]
)


def count_refusal(status: int) -> None:
    """One more, by what it was answered."""
    REFUSALS.labels(str(status)).inc()
