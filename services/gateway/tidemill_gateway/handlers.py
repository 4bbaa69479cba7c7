"""What is done with a prediction, in order: resolve, validate, join a lane, answer."""

from __future__ import annotations

import asyncio
from concurrent.futures import Executor
from dataclasses import dataclass, field
from time import monotonic

import numpy as np
from tidemill_contracts.errors import Malformed, Unavailable

from tidemill_gateway.answer_cache import AnswerCache
from tidemill_gateway.errors import ModelFailed, VersionGone
from tidemill_gateway.plane.batching import Batcher
from tidemill_gateway.plane.calls import Call, Rows, lane_key
from tidemill_gateway.plane.lanes import Answer, LaneKey
from tidemill_gateway.plane.shadow import Shadows
from tidemill_gateway.plane.signatures import SignatureCache
from tidemill_gateway.plane.suspects import Suspects
from tidemill_gateway.plane.tensors import Column
from tidemill_gateway.plane.traces import RequestTrace
from tidemill_gateway.plane.version_book import VersionBook
from tidemill_gateway.plane.versions import Resolved, Target

VERSION_TRIES_MAX = 3
"""How often a request may find that the version it was given has just been unloaded."""


@dataclass(frozen=True)
class Plane:
    """The parts that a prediction goes through. rows_per_job_max: above it a request is split."""

    versions: VersionBook
    signatures: SignatureCache
    batcher: Batcher
    shadows: Shadows
    executor: Executor
    rows_per_job_max: int
    cache: AnswerCache | None = None
    suspects: Suspects = field(default_factory=Suspects)


async def predict(
    plane: Plane,
    target: Target,
    call: Call,
    timeout_s: float,
    trace: RequestTrace | None = None,
    *,
    caller: str = "",
) -> tuple[Resolved, Answer]:
    """The answer, and who gave it. The version is resolved once: a request never straddles a promotion.

    trace: None for a request that nobody traces. caller: the connection on which it came.

    Raises:
        InvalidInput, NotFound: the request is at fault, and only it.
        Unavailable, Overloaded, DeadlineExceeded: try again.
        ModelFailed: the model failed on this request.
    """
    deadline_s = monotonic() + timeout_s
    for _ in range(VERSION_TRIES_MAX):
        resolved = await plane.versions.resolve(target)
        try:
            info = plane.signatures.known(resolved.model, resolved.version)
            if info is None:
                info = await plane.signatures.get(resolved.model, resolved.version)
            signature = info.signature(call.signature_name)
            if call.heavy:
                rows = await asyncio.get_running_loop().run_in_executor(plane.executor, call.rows, signature)
            else:
                rows = call.rows(signature)
            suspect = plane.suspects.knows(caller)
            model, version = resolved.model, resolved.version
            key = lane_key(model, version, signature, rows, call.output_filter, suspect=suspect)
            try:
                if plane.cache is None:
                    answer = await _answer(plane, key, rows, deadline_s, trace)
                else:
                    answer = await _answer_cached(plane, plane.cache, key, rows, deadline_s, trace)
            except (Malformed, ModelFailed):  # of the model: ours were raised before
                plane.suspects.note(caller)
                raise
            if resolved.label == "stable" and target.label is None and target.version is None:
                plane.shadows.consider(plane.versions.views[resolved.model], signature, rows, answer)
            return resolved, answer
        except VersionGone:
            await plane.versions.refresh_model(target.model)
    raise Unavailable(f"the versions of {target.model} are changing: try again in a moment")


async def _answer_cached(
    plane: Plane,
    cache: AnswerCache,
    key: LaneKey,
    rows: Rows,
    deadline_s: float,
    trace: RequestTrace | None,
) -> Answer:
    """As `_answer`, but for what the cache knows; what it does not know, it learns."""
    name = await cache.name_of(key, rows)
    if name is None:
        return await _answer(plane, key, rows, deadline_s, trace)
    answer = await cache.get(name, key)
    if answer is None:
        answer = await _answer(plane, key, rows, deadline_s, trace)
        cache.put(name, key, answer)
    return answer


async def _answer(
    plane: Plane, key: LaneKey, rows: Rows, deadline_s: float, trace: RequestTrace | None
) -> Answer:
    if rows.count <= plane.rows_per_job_max or not rows.batchable:
        return await plane.batcher.submit(key, rows.columns, rows.count, deadline_s, trace)
    futures: list[asyncio.Future[Answer]] = []
    try:
        for start in range(0, rows.count, plane.rows_per_job_max):
            end = min(start + plane.rows_per_job_max, rows.count)
            columns = tuple(_slice(column, rows.count, start, end) for column in rows.columns)
            futures.append(plane.batcher.submit(key, columns, end - start, deadline_s, trace))
        pieces = await asyncio.gather(*futures)
    except BaseException:
        for future in futures:
            future.cancel()
        raise
    return _joined(pieces)


def _slice(column: Column, rows: int, start: int, end: int) -> Column:
    each = len(column.content) // rows
    return Column(column.dtype, column.row_shape, column.content[start * each : end * each])


def _joined(pieces: list[Answer]) -> Answer:
    first = pieces[0]
    outputs = {name: np.concatenate([piece.outputs[name] for piece in pieces]) for name in first.outputs}
    return Answer(
        outputs,
        first.model,
        first.version,
        max(piece.batch_rows for piece in pieces),
        max(piece.queue_s for piece in pieces),
        max(piece.compute_s for piece in pieces),
    )
