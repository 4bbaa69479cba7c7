"""Shows answered requests to the candidate as well, and measures how far it is from what was answered."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping
from time import monotonic
from typing import Protocol

import numpy as np
from tidemill_contracts.errors import TidemillError

from tidemill_gateway.plane.batching import Batcher
from tidemill_gateway.plane.calls import Rows, lane_key
from tidemill_gateway.plane.lanes import Answer
from tidemill_gateway.plane.signatures import Signature, SignatureCache
from tidemill_gateway.plane.tensors import Array
from tidemill_gateway.plane.versions import ModelView

IN_FLIGHT_MAX = 64
"""Shadows under way at once; beyond it requests are not shadowed, only answered."""
SHADOW_S_MAX = 5.0


class ShadowObserver(Protocol):
    """Is told what shadows saw."""

    def shadow_compared(
        self, model: str, version: int, candidate: int, difference: float, agrees: bool
    ) -> None:
        """Both answered. agrees: every row has its largest element at the same place."""
        ...

    def shadow_failed(self, model: str, candidate: int, reason: str) -> None:
        """The candidate did not answer, or something else than `stable`."""
        ...


class Shadows:
    """Never in the way of a client: what does not fit is dropped."""

    def __init__(
        self,
        batcher: Batcher,
        signatures: SignatureCache,
        observer: ShadowObserver,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._batcher = batcher
        self._signatures = signatures
        self._observer = observer
        self._draw = draw
        self._tasks: set[asyncio.Task[None]] = set()

    def consider(self, view: ModelView, signature: Signature, rows: Rows, answer: Answer) -> None:
        """Shadow a request that `stable` answered, if its turn comes."""
        candidate = view.labels.candidate
        if candidate is None or candidate == answer.version or candidate not in view.available:
            return
        if len(self._tasks) >= IN_FLIGHT_MAX or self._draw() * 100 >= view.rollout.shadow_percent:
            return
        task = asyncio.ensure_future(self._compare(view.name, candidate, signature, rows, answer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def drain(self) -> None:
        """Wait for the shadows that are under way."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def _compare(
        self, model: str, candidate: int, signature: Signature, rows: Rows, answer: Answer
    ) -> None:
        try:
            own = (await self._signatures.get(model, candidate)).signature(signature.name)
            if own.inputs != signature.inputs:
                self._observer.shadow_failed(model, candidate, "signature")
                return
            key = lane_key(model, candidate, own, rows)
            deadline_s = monotonic() + SHADOW_S_MAX
            shadow = await self._batcher.submit(key, rows.columns, rows.count, deadline_s)
        except TidemillError as error:
            self._observer.shadow_failed(model, candidate, type(error).__name__)
            return
        compared = compare(answer.outputs, shadow.outputs)
        if compared is None:
            self._observer.shadow_failed(model, candidate, "shape")
        else:
            self._observer.shadow_compared(model, answer.version, candidate, *compared)


def compare(ours: Mapping[str, Array], theirs: Mapping[str, Array]) -> tuple[float, bool] | None:
    """The largest difference of any element, and whether every row's largest element is the same one.

    None if names or shapes differ.
    """
    if ours.keys() != theirs.keys():
        return None
    difference, agrees = 0.0, True
    for name, own in ours.items():
        other = theirs[name]
        if own.shape != other.shape:
            return None
        if own.dtype == object or own.size == 0:
            agrees = agrees and bool(np.array_equal(own, other))
            continue
        gap = np.abs(own.astype(np.float64) - other.astype(np.float64))
        difference = max(difference, float(np.nanmax(gap)) if not np.isnan(gap).all() else 0.0)
        if own.ndim >= 1:
            agrees = agrees and bool(np.array_equal(own.argmax(axis=-1), other.argmax(axis=-1)))
    return difference, agrees
