"""What ingest measures about itself."""

from __future__ import annotations

from prometheus_client import Counter

SAMPLES = Counter("tidemill_ingest_samples_total", "Samples published", ["dataset", "split"])
MESSAGES = Counter("tidemill_ingest_messages_total", "Messages published")
REFUSED = Counter("tidemill_ingest_refused_total", "Requests and files refused", ["door", "reason"])
