"""Lets requests share a run of the graph: rows of one signature, shape and type, told apart again afterwards.

No thread of its own: the first caller leads and runs what has gathered; whoever comes meanwhile waits, and
the first of those leads next.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

import numpy as np

from tidemill_serving.engine.deadlines import exceeded, left_s
from tidemill_serving.engine.servable import Array, Arrays, Servable
from tidemill_serving.engine.server_files import BatchingParameters
from tidemill_serving.engine.status import Code, StatusError, from_exception, invalid_argument

Key = tuple[Any, ...]


@dataclass(eq=False)
class _Task:
    """One caller's rows, until they are answered or the caller is asked to lead."""

    inputs: Arrays
    rows: int
    deadline_s: float | None = None
    woken: threading.Event = field(default_factory=threading.Event)
    leads: bool = False
    outputs: list[Array] | None = None
    error: StatusError | None = None


@dataclass
class _Lane:
    """What waits for one kind of run. Guarded by the servable's lock."""

    waiting: deque[_Task] = field(default_factory=deque)
    running: int = 0
    gathering: bool = False

    @property
    def rows(self) -> int:
        return sum(task.rows for task in self.waiting)


class BatchingServable:
    """A servable whose callers share runs.

    A batch never mixes signatures, outputs, row shapes or types. When a run fails, its callers run alone, so
    that one's bad rows do not fail the others.
    """

    def __init__(self, inner: Servable, parameters: BatchingParameters) -> None:
        self._inner = inner
        self._limits = parameters
        self._lanes: dict[Key, _Lane] = {}
        self._changed = threading.Condition()

    @property
    def signatures(self) -> Mapping[str, Any]:
        return self._inner.signatures

    def close(self) -> None:
        self._inner.close()

    def run(
        self, signature_name: str, inputs: Arrays, outputs: Sequence[str], *, deadline_s: float | None = None
    ) -> list[Array]:
        """See `Servable.run`. Who waits in line past the deadline leaves it; no rows of theirs run.

        Raises:
            StatusError: INVALID_ARGUMENT: the inputs have no common number of rows, or too many. UNAVAILABLE:
                too much waits already.
        """
        rows = _row_count(inputs)
        most = self._limits.batch_size_max
        if rows <= most:
            return self._run_rows(signature_name, inputs, rows, outputs, deadline_s)
        if not self._limits.split:
            raise invalid_argument(f"Task size {rows} is larger than maximum input batch size {most}")
        parts = [
            self._run_rows(
                signature_name,
                _sliced(inputs, start, start + most),
                min(most, rows - start),
                outputs,
                deadline_s,
            )
            for start in range(0, rows, most)
        ]
        return [np.concatenate(arrays) for arrays in zip(*parts, strict=True)]

    def _run_rows(
        self,
        signature_name: str,
        inputs: Arrays,
        rows: int,
        outputs: Sequence[str],
        deadline_s: float | None,
    ) -> list[Array]:
        shapes = tuple((alias, inputs[alias].shape[1:], inputs[alias].dtype.str) for alias in sorted(inputs))
        key = (signature_name, tuple(outputs), shapes)
        task = _Task(inputs, rows, deadline_s)
        if not self._join(key, task) and not task.woken.wait(left_s(deadline_s)):
            self._leave(key, task)
        if task.leads:
            self._lead(key, task)
        if task.error is not None:
            raise task.error
        if task.outputs is None:
            raise StatusError(Code.INTERNAL, "a batch forgot one of its members")
        return task.outputs

    def _join(self, key: Key, task: _Task) -> bool:
        """Stand in line; say whether the caller leads."""
        with self._changed:
            lane = self._lanes.setdefault(key, _Lane())
            if lane.rows + task.rows > self._limits.batches_max * self._limits.batch_size_max:
                raise StatusError(
                    Code.UNAVAILABLE,
                    "The batch scheduling queue to which this task was submitted is full;"
                    f" currently has {len(lane.waiting)} tasks enqueued",
                )
            lane.waiting.append(task)
            if lane.gathering or lane.running >= self._limits.threads:
                self._changed.notify_all()
                return False
            self._appoint(lane, task)
            return True

    def _leave(self, key: Key, task: _Task) -> None:
        """The deadline passed: step out of the line, unless it is the caller's turn to lead just now."""
        with self._changed:
            if task.leads:
                return
            lane = self._lanes.get(key)
            if lane is not None and task in lane.waiting:
                lane.waiting.remove(task)
        raise exceeded()

    def _appoint(self, lane: _Lane, task: _Task) -> None:
        task.leads = True
        lane.running += 1
        lane.gathering = True

    def _lead(self, key: Key, task: _Task) -> None:
        batch = self._gather(key, task.deadline_s)
        if batch:
            self._execute(key, batch)
        with self._changed:
            lane = self._lanes[key]
            lane.running -= 1
            self._appoint_next(lane)
            if not lane.running and not lane.waiting:
                del self._lanes[key]
        for member in batch:
            if member is not task:
                member.woken.set()

    def _gather(self, key: Key, deadline_s: float | None) -> list[_Task]:
        """Wait until the batch is full or has waited enough; take its tasks out of the line."""
        most = self._limits.batch_size_max
        end_s = min(monotonic() + self._limits.wait_s_max, math.inf if deadline_s is None else deadline_s)
        with self._changed:
            lane = self._lanes[key]
            while lane.rows < most and (left_s := end_s - monotonic()) > 0:
                self._changed.wait(left_s)
            batch: list[_Task] = []
            rows = 0
            while lane.waiting and rows + lane.waiting[0].rows <= most:
                member = lane.waiting.popleft()
                if member.deadline_s is not None and member.deadline_s <= monotonic():
                    member.error = exceeded()
                    member.woken.set()
                    continue
                batch.append(member)
                rows += member.rows
            lane.gathering = False
            self._appoint_next(lane)
            return batch

    def _appoint_next(self, lane: _Lane) -> None:
        """Let the first who waits lead, if there is room for another run."""
        if lane.waiting and not lane.gathering and lane.running < self._limits.threads:
            first = lane.waiting[0]
            self._appoint(lane, first)
            first.woken.set()

    def _execute(self, key: Key, batch: list[_Task]) -> None:
        try:
            self._run_together(key, batch)
        except Exception as error:  # noqa: BLE001  (whatever it is, each caller learns what concerns it)
            if len(batch) == 1:
                batch[0].error = from_exception(error)
                return
            for task in batch:
                self._execute(key, [task])

    def _run_together(self, key: Key, batch: list[_Task]) -> None:
        rows = sum(task.rows for task in batch)
        padding = next((size for size in self._limits.allowed_sizes if size >= rows), rows) - rows
        joined = {
            alias: _joined([task.inputs[alias] for task in batch], padding) for alias in batch[0].inputs
        }
        deadlines = [task.deadline_s for task in batch if task.deadline_s is not None]
        deadline_s = max(deadlines) if len(deadlines) == len(batch) else None
        outputs = self._inner.run(key[0], joined, key[1], deadline_s=deadline_s)
        for output in outputs:
            if output.ndim == 0 or len(output) != rows + padding:
                raise StatusError(
                    Code.FAILED_PRECONDITION,
                    "Batched output tensor's 0th dimension does not equal the sum of the 0th dimension sizes"
                    " of the input tensors",
                )
        start = 0
        for task in batch:
            task.outputs = [output[start : start + task.rows] for output in outputs]
            start += task.rows


def _row_count(inputs: Arrays) -> int:
    counts: set[int] = set()
    for array in inputs.values():
        if array.ndim == 0:
            raise invalid_argument("Batching session Run() input tensors must have at least one dimension.")
        counts.add(len(array))
    if len(counts) > 1:
        raise invalid_argument("Batching session Run() input tensors must have equal 0th-dimension size.")
    return counts.pop() if counts else 0


def _sliced(inputs: Arrays, start: int, end: int) -> Arrays:
    return {alias: array[start:end] for alias, array in inputs.items()}


def _joined(arrays: list[Array], padding: int) -> Array:
    """The rows one after another; padding repeats the first, which the model is known to take."""
    if padding and len(arrays[0]):
        arrays = [*arrays, np.repeat(arrays[0][:1], padding, axis=0)]
    return np.concatenate(arrays) if len(arrays) > 1 else arrays[0]
