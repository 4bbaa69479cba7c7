"""What the persistor measures about itself."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram
from tidemill_contracts.events import BatchStored

MESSAGES = Counter("tidemill_persistor_messages_total", "Messages stored", ["split"])
SAMPLES = Counter("tidemill_persistor_samples_total", "Samples stored", ["split"])
BATCHES = Counter("tidemill_persistor_batches_total", "Objects written or found written", ["split"])
BYTES = Counter("tidemill_persistor_stored_bytes_total", "Bytes of objects stored", ["split"])
DEAD_LETTERS = Counter("tidemill_persistor_dead_letters_total", "Messages put aside for a person")
DEAD_SAMPLES = Counter(
    "tidemill_persistor_dead_samples_total", "Samples put aside whose message is kept for the others"
)
REDELIVERIES = Counter("tidemill_persistor_redeliveries_total", "Messages delivered more than once")
OUTAGES = Counter("tidemill_persistor_outages_total", "Times the store or the bus stopped answering")
HELD_MESSAGES = Gauge("tidemill_persistor_held_messages", "Messages in hand, not yet acknowledged")
HELD_BYTES = Gauge("tidemill_persistor_held_bytes", "Memory of the messages in hand")
WRITE_SECONDS = Histogram("tidemill_persistor_write_seconds", "To write and announce one batch")
AGE_SECONDS = Histogram(
    "tidemill_persistor_age_seconds",
    "From the publication of a batch's first message until it was stored",
    buckets=(0.1, 0.25, 0.5, 1, 1.5, 2, 3, 5, 10, 30, 60, 300, 900, 3600),
)


def stored(batch: BatchStored, *, write_s: float, age_s: float) -> None:
    """Count one stored batch."""
    MESSAGES.labels(batch.split).inc(batch.message_count)
    SAMPLES.labels(batch.split).inc(batch.sample_count)
    BATCHES.labels(batch.split).inc()
    BYTES.labels(batch.split).inc(batch.size_bytes)
    WRITE_SECONDS.observe(write_s)
    AGE_SECONDS.observe(max(0.0, age_s))
