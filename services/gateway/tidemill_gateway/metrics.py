"""What the gateway counts, for Prometheus. Labels name only what exists: their number is bounded."""

from __future__ import annotations

from collections.abc import Sequence

from prometheus_client import Counter, Gauge, Histogram
from tidemill_contracts.errors import TidemillError

from tidemill_gateway.plane.admission import Admission
from tidemill_gateway.plane.lanes import Job, LaneKey
from tidemill_gateway.plane.versions import Resolved

CHILDREN_MAX = 1024
SHADOW_DIFFERENCE = Histogram(
    "tidemill_gateway_shadow_difference",
    "Largest difference of any output between what answered and the candidate in its shadow",
    ["model", "version", "candidate"],
    buckets=(1e-6, 1e-5, 1e-4, 1e-3, 0.01, 0.05, 0.1, 0.25, 0.5, 1, 10, 100),
)
SHADOW_AGREEMENT = Counter(
    "tidemill_gateway_shadow_compared_total",
    "Requests shown to the candidate, by whether every row's largest output was the same one",
    ["model", "version", "candidate", "agrees"],
)
SHADOW_FAILURES = Counter(
    "tidemill_gateway_shadow_failures_total",
    "Shadows that could not be compared",
    ["model", "candidate", "reason"],
)

REQUESTS = Counter(
    "tidemill_gateway_requests_total",
    "Predictions answered, by who answered",
    ["model", "version", "label", "signature", "dialect"],
)
REJECTIONS = Counter(
    "tidemill_gateway_rejections_total",
    "Predictions refused, by the class of the reason",
    ["reason", "dialect"],
)
LATENCY = Histogram(
    "tidemill_gateway_request_seconds",
    "From the whole request to its answer",
    ["model"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
BATCH_ROWS = Histogram(
    "tidemill_gateway_batch_rows",
    "Rows of each batch that the model ran",
    ["model", "version", "signature"],
    buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512),
)
BATCH_REQUESTS = Histogram(
    "tidemill_gateway_batch_requests",
    "Requests that shared each batch",
    ["model", "version", "signature"],
    buckets=(1, 2, 4, 8, 16, 32, 64, 128),
)
QUEUE_WAIT = Histogram(
    "tidemill_gateway_queue_seconds",
    "How long the oldest request of each batch waited for it",
    ["model", "version", "signature"],
    buckets=(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1, 5),
)
WAITING_ROWS = Gauge("tidemill_gateway_waiting_rows", "Rows admitted and not yet answered")
WAITING_BYTES = Gauge("tidemill_gateway_waiting_bytes", "Bytes admitted and not yet answered")
COMPUTE = Histogram(
    "tidemill_gateway_compute_seconds",
    "How long the model took for each batch",
    ["model", "version", "signature"],
    buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5),
)


class BatchMetrics:
    """Tells Prometheus of every batch, and, when asked, of what waits."""

    def __init__(self, admission: Admission) -> None:
        self._children: dict[LaneKey, tuple[Histogram, Histogram, Histogram, Histogram]] = {}
        WAITING_ROWS.set_function(lambda: admission.rows)
        WAITING_BYTES.set_function(lambda: admission.bytes)

    def batch_ran(self, key: LaneKey, jobs: Sequence[Job], rows: int, sent_s: float, took_s: float) -> None:
        """A batch came back whole."""
        known = self._children.get(key)
        if known is None:
            if len(self._children) >= CHILDREN_MAX:
                self._children.clear()
            labels = (key.model, str(key.version), key.signature)
            families = (BATCH_ROWS, BATCH_REQUESTS, QUEUE_WAIT, COMPUTE)
            batch_rows, requests, wait, compute = (family.labels(*labels) for family in families)
            known = self._children[key] = (batch_rows, requests, wait, compute)
        known[0].observe(rows)
        known[1].observe(len(jobs))
        known[2].observe(sent_s - jobs[0].queued_s)
        known[3].observe(took_s)


class ShadowMetrics:
    """Tells Prometheus what shadows saw."""

    def shadow_compared(
        self, model: str, version: int, candidate: int, difference: float, agrees: bool
    ) -> None:
        """Both answered."""
        SHADOW_DIFFERENCE.labels(model, str(version), str(candidate)).observe(difference)
        SHADOW_AGREEMENT.labels(model, str(version), str(candidate), str(agrees).lower()).inc()

    def shadow_failed(self, model: str, candidate: int, reason: str) -> None:
        """The candidate did not answer in kind."""
        SHADOW_FAILURES.labels(model, str(candidate), reason).inc()


class RequestMetrics:
    """Tells Prometheus of every request of one dialect. Children are kept: to find one costs much."""

    def __init__(self, dialect: str) -> None:
        self._dialect = dialect
        self._answered: dict[tuple[Resolved, str], tuple[Counter, Histogram]] = {}

    def answered(self, resolved: Resolved, signature: str, took_s: float) -> None:
        """A request was answered with predictions."""
        key = (resolved, signature)
        known = self._answered.get(key)
        if known is None:
            if len(self._answered) >= CHILDREN_MAX:
                self._answered.clear()
            known = self._answered[key] = (
                REQUESTS.labels(
                    resolved.model, str(resolved.version), resolved.label, signature, self._dialect
                ),
                LATENCY.labels(resolved.model),
            )
        known[0].inc()
        known[1].observe(took_s)

    def refused(self, error: TidemillError) -> None:
        """A request got no predictions."""
        refused(error, self._dialect)

    def left(self) -> None:
        """The client left before its answer; its work was dropped."""
        REJECTIONS.labels("ClientLeft", self._dialect).inc()


def refused(error: TidemillError, dialect: str) -> None:
    """A request was turned away, wherever that was."""
    REJECTIONS.labels(type(error).__name__, dialect).inc()
