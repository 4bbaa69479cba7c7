"""What becomes of a batch: it runs once, and each of its requests gets its own rows or its own error."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from time import monotonic
from typing import Protocol

from tidemill_contracts.errors import InvalidInput, TidemillError

from tidemill_gateway.errors import ModelFailed
from tidemill_gateway.plane.admission import Admission
from tidemill_gateway.plane.lanes import Answer, Job, Lane, LaneKey
from tidemill_gateway.plane.tensors import Array, Column, join
from tidemill_gateway.plane.traces import BatchTracer


class Runner(Protocol):
    """Runs one batch on the model."""

    async def run(
        self,
        key: LaneKey,
        columns: Sequence[Column],
        rows: int,
        timeout_s: float,
        headers: tuple[tuple[str, str], ...] = (),
    ) -> Mapping[str, Array]:
        """The outputs by name. headers: for the model's server, beside the rows.

        Raises:
            InvalidInput, ModelFailed: the batch, or something in it, is at fault.
            VersionGone, Unavailable: nothing in the batch is at fault.
        """
        ...


class Observer(Protocol):
    """Is told of every batch; measures, never decides."""

    def batch_ran(self, key: LaneKey, jobs: Sequence[Job], rows: int, sent_s: float, took_s: float) -> None:
        """A batch came back whole."""
        ...


class Batches:
    """Runs batches; tracer: is told of those in which traced requests travel, if anybody traces."""

    def __init__(
        self,
        runner: Runner,
        admission: Admission,
        observer: Observer | None = None,
        tracer: BatchTracer | None = None,
    ) -> None:
        self._runner = runner
        self._admission = admission
        self._observer = observer
        self._tracer = tracer

    async def answer(self, lane: Lane, jobs: list[Job]) -> None:
        """Answer every job: with its rows, or with the error that is its own.

        A batch that fails for what is in it is halved until the guilty stand alone: about
        2·log2(jobs) further calls for one guilty.
        """
        sent_s = monotonic()
        jobs = [job for job in jobs if not job.future.done() and job.deadline_s > sent_s]
        if not jobs:
            return
        rows = sum(job.rows for job in jobs)
        columns = [join(parts) for parts in zip(*(job.columns for job in jobs), strict=True)]
        timeout_s = max(job.deadline_s for job in jobs) - sent_s
        key = lane.key
        try:
            if self._tracer is None:
                outputs = await self._runner.run(key, columns, rows, timeout_s)
            else:
                outputs = await self._run_traced(self._tracer, key, jobs, columns, rows, timeout_s)
        except (InvalidInput, ModelFailed) as error:
            await self._isolate(lane, jobs, error)
            return
        except TidemillError as error:
            _fail(jobs, error)
            return
        except Exception as error:  # noqa: BLE001  (a bug must fail its batch, not hang its callers)
            _fail(jobs, ModelFailed(f"the batch failed: {error!r}"))
            return
        took_s = monotonic() - sent_s
        if len(jobs) > 1 and any(not out.shape or out.shape[0] != rows for out in outputs.values()):
            await self._isolate(lane, jobs, ModelFailed("the model does not keep rows apart"))
            return
        lane.pace.ran(rows, took_s)
        self._admission.drain.add(rows, sent_s + took_s)
        if self._observer is not None:
            self._observer.batch_ran(key, jobs, rows, sent_s, took_s)
        _hand_out(key, jobs, outputs, rows, sent_s, took_s)

    async def _run_traced(
        self,
        tracer: BatchTracer,
        key: LaneKey,
        jobs: list[Job],
        columns: Sequence[Column],
        rows: int,
        timeout_s: float,
    ) -> Mapping[str, Array]:
        traced = [job.trace for job in jobs if job.trace is not None]
        if not traced:
            return await self._runner.run(key, columns, rows, timeout_s)
        trace = tracer.batch_sent(key, traced, rows)
        said = "cancelled"
        try:
            outputs = await self._runner.run(key, columns, rows, timeout_s, trace.headers)
            said = ""
        except TidemillError as error:
            said = f"{type(error).__name__}: {error}"
            raise
        finally:
            trace.ended(said)
        return outputs

    async def _isolate(self, lane: Lane, jobs: list[Job], error: TidemillError) -> None:
        if len(jobs) == 1:
            _fail(jobs, error)
            return
        middle = len(jobs) // 2
        await self.answer(lane, jobs[:middle])
        await self.answer(lane, jobs[middle:])


def _fail(jobs: list[Job], error: TidemillError) -> None:
    """End every job with a copy of its own: a shared one would gather every caller's traceback."""
    for job in jobs:
        if not job.future.done():
            job.future.set_exception(copy.copy(error))


def _hand_out(
    key: LaneKey, jobs: list[Job], outputs: Mapping[str, Array], rows: int, sent_s: float, took_s: float
) -> None:
    """Give each job its own rows, in the order in which they were joined."""
    start = 0
    alone = len(jobs) == 1
    for job in jobs:
        end = start + job.rows
        if not job.future.done():
            own = dict(outputs) if alone else {name: out[start:end] for name, out in outputs.items()}
            job.future.set_result(Answer(own, key.model, key.version, rows, sent_s - job.queued_s, took_s))
        start = end
