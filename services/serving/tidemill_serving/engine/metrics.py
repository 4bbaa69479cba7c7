"""Counters and latencies under TensorFlow Serving's names, in Prometheus' text format and by name."""

from __future__ import annotations

import re
import threading
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass, field

PREFIX = ":tensorflow:serving:"
BOUNDS_US = tuple(10 * 1.8**power for power in range(33))
"""Upper bounds in microseconds, as the server has them: 10, growing by 1.8."""

LOADS = "/tensorflow/cc/saved_model/load_attempt_count"

Labels = tuple[tuple[str, str], ...]
_MODEL = re.compile(r"/v1/models/([^/:]+)", re.IGNORECASE)
_VERB = re.compile(r":(\w+)$")


@dataclass
class _Histogram:
    counts: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS_US) + 1))
    sum_us: float = 0.0


class Metrics:
    """request_count, request_latency, runtime_latency, and how often models were loaded.

    known: the names of models that exist; others are counted together, so that no client can make series.
    """

    def __init__(self, known: Callable[[str], bool]) -> None:
        self._known = known
        self._counts: dict[tuple[str, str], int] = {}
        self._loads = {"success": 0, "fail": 0}
        self._latencies: dict[tuple[str, Labels], _Histogram] = {}
        self._lock = threading.Lock()

    def observe(self, model: str, status: str, api: str, entrypoint: str, seconds: float) -> None:
        """One request was answered. status: a canonical code's name."""
        name = model if self._known(model) else ""
        labels = (("model_name", name), ("API", api), ("entrypoint", entrypoint))
        with self._lock:
            self._counts[name, status] = self._counts.get((name, status), 0) + 1
            self._add("request_latency", labels, seconds)

    def observe_rest(self, path: str, http_status: int, seconds: float) -> None:
        """One REST request was answered; requests of no model are not counted."""
        model, verb = _MODEL.match(path), _VERB.search(path)
        if model is None or verb is None:
            return
        status = "OK" if http_status == 200 else _NAMES.get(http_status, "INTERNAL")
        self.observe(model[1], status, verb[1].capitalize(), "REST", seconds)

    def observe_runtime(self, model: str, api: str, seconds: float) -> None:
        """The TensorFlow runtime computed for so long."""
        labels = (("model_name", model), ("API", api), ("runtime", "TF1"))
        with self._lock:
            self._add("runtime_latency", labels, seconds)

    def observe_load(self, *, succeeded: bool) -> None:
        """A load of a version ended."""
        with self._lock:
            self._loads["success" if succeeded else "fail"] += 1

    def total(self, name: str) -> int:
        """A counter over all its labels, by TensorFlow's name for it; 0 for a name that is no counter's.

        TensorFlow Serving, asked for a rise, looks at one arbitrary set of labels; this is the sum of all.
        """
        with self._lock:
            if name in {"/tensorflow/serving/request_count", f"{PREFIX}request_count"}:
                return sum(self._counts.values())
            if name in {LOADS, LOADS.replace("/", ":")}:
                return sum(self._loads.values())
            return 0

    def _add(self, name: str, labels: Labels, seconds: float) -> None:
        histogram = self._latencies.get((name, labels))
        if histogram is None:
            histogram = self._latencies[name, labels] = _Histogram()
        histogram.counts[bisect_left(BOUNDS_US, seconds * 1e6)] += 1
        histogram.sum_us += seconds * 1e6

    def exposition(self) -> bytes:
        """Everything, as Prometheus reads it."""
        with self._lock:
            lines = [f"# TYPE {PREFIX}request_count counter"]
            for (model, status), count in sorted(self._counts.items()):
                shown = _labels((("model_name", model), ("status", status)))
                lines.append(f"{PREFIX}request_count{{{shown}}} {count}")
            exposed = LOADS.replace("/", ":")
            lines.append(f"# TYPE {exposed} counter")
            lines.extend(f'{exposed}{{status="{status}"}} {count}' for status, count in self._loads.items())
            typed: set[str] = set()
            for (name, labels), histogram in sorted(self._latencies.items()):
                if name not in typed:
                    typed.add(name)
                    lines.append(f"# TYPE {PREFIX}{name} histogram")
                lines.extend(_histogram_lines(f"{PREFIX}{name}", _labels(labels), histogram))
        return ("\n".join(lines) + "\n").encode()


_NAMES = {
    400: "INVALID_ARGUMENT",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


def _histogram_lines(name: str, labels: str, histogram: _Histogram) -> list[str]:
    lines: list[str] = []
    total = 0
    for bound, count in zip((*BOUNDS_US, None), histogram.counts, strict=True):
        total += count
        shown = "+Inf" if bound is None else f"{bound:.6g}"
        lines.append(f'{name}_bucket{{{labels},le="{shown}"}} {total}')
    lines.append(f"{name}_sum{{{labels}}} {histogram.sum_us:.6g}")
    lines.append(f"{name}_count{{{labels}}} {total}")
    return lines


def _labels(labels: Labels) -> str:
    return ",".join(f'{name}="{_escaped(value)}"' for name, value in labels)


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
