"""How long a prepared call runs, and when its deadline is so far that nobody needs to watch for it.

TensorFlow can stop a run between two operations only if the operations run in a pool and not in the calling
thread. That costs 0.08 ms of CPU for one row of the digits network, 0.3 for 32 and 0.5 for 64: a tenth.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tidemill_serving.engine.servable import Arrays

FAR = 20
"""So many times the longest expected run must lie before the deadline."""

FORGETTING = 0.999
"""What the costliest row of the past counts after each run."""

_ENDLESS = (
    "While",
    "StatelessWhile",
    "Enter",
    "For",
    "PyFunc",
    "EagerPyFunc",
    "StatelessPyFunc",
    "Queue",
    "Iterator",
    "OneShotIterator",
    "MultiDeviceIterator",
    "ReduceDataset",
    "Barrier",
    "Unstage",
    "MapUnstage",
    "OrderedMapUnstage",
    "MutexLock",
    "Recv",
)
"""How the names of operations begin that repeat others, or wait."""


def is_straight(graph: Any) -> bool:
    """Whether every operation of a ``GraphDef``, functions included, runs once and waits for nothing."""
    functions = (function.node_def for function in graph.library.function)
    return not any(node.op.startswith(_ENDLESS) for nodes in (graph.node, *functions) for node in nodes)


def takes_rows(inputs: Iterable[Any]) -> bool:
    """Whether the shapes of ``TensorInfo`` leave open only how many rows there are."""
    for info in inputs:
        sizes = [dimension.size for dimension in info.tensor_shape.dim]
        if info.tensor_shape.unknown_rank or not sizes or any(size < 0 for size in sizes[1:]):
            return False
    return True


class RunTimes:
    """Of one prepared call. straight: its runs cost by the row, and end by themselves.

    Threads may use it at once: a time that is lost to another one does no harm.
    """

    def __init__(self, *, straight: bool) -> None:
        self.straight = straight
        self._row_s_max = 0.0

    def is_far(self, inputs: Arrays, left_s: float) -> bool:
        """Whether the run will have ended long before. Not known, and so False, before the first one."""
        return 0 < self._row_s_max * _rows(inputs) * FAR < left_s

    def took(self, inputs: Arrays, seconds: float) -> None:
        """A run has ended."""
        self._row_s_max = max(seconds / _rows(inputs), self._row_s_max * FORGETTING)


def _rows(inputs: Arrays) -> int:
    """At least one. Every input has its rows first, and the batch is as large as the largest."""
    return max((len(array) for array in inputs.values() if array.ndim), default=0) or 1
