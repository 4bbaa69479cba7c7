"""A model in memory whose rows answer with their own sum, and lanes to reach it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, TypeVar

import numpy as np
import pytest
from tidemill_contracts.errors import Malformed, Unavailable
from tidemill_gateway.errors import VersionGone
from tidemill_gateway.plane.admission import Admission, AdmissionLimits
from tidemill_gateway.plane.batching import Batcher, BatchLimits
from tidemill_gateway.plane.lanes import Answer, LaneKey
from tidemill_gateway.plane.tensors import Array, Column
from tidemill_gateway.wire import tensor_pb2 as pb

T = TypeVar("T")
POISON = -666.0


def lane(version: int = 1, model: str = "digits", width: int = 1, *, batchable: bool = True) -> LaneKey:
    """A lane of rows of `width` floats."""
    return LaneKey(model, version, "serving_default", (("x", pb.DT_FLOAT, (width,)),), (), batchable)


def column(*values: float) -> tuple[Column, ...]:
    """Rows of one float each."""
    return (Column(pb.DT_FLOAT, (1,), np.array(values, dtype=np.float32).tobytes()),)


@dataclass
class MemoryModel:
    """Answers each row with [version, value]; refuses a batch that holds POISON.

    held: while cleared, batches wait. calls: rows of each batch, in order.
    """

    held: asyncio.Event = field(default_factory=asyncio.Event)
    calls: list[tuple[LaneKey, int]] = field(default_factory=list)
    gone: set[int] = field(default_factory=set)
    down: bool = False
    forgets_rows: bool = False
    running: int = 0
    running_max: int = 0

    def __post_init__(self) -> None:
        self.held.set()

    async def run(
        self,
        key: LaneKey,
        columns: Sequence[Column],
        rows: int,
        timeout_s: float,
        headers: tuple[tuple[str, str], ...] = (),
    ) -> Mapping[str, Array]:
        self.calls.append((key, rows))
        self.running += 1
        self.running_max = max(self.running, self.running_max)
        try:
            await self.held.wait()
            await asyncio.sleep(0)
        finally:
            self.running -= 1
        if self.down:
            raise Unavailable("serving is down")
        if key.version in self.gone:
            raise VersionGone(f"version {key.version} is gone")
        content = columns[0].content
        assert isinstance(content, bytes)
        values = np.frombuffer(content, dtype=np.float32)
        if POISON in values:
            raise Malformed("a row is poisoned")
        out = np.stack([np.full(len(values), key.version, dtype=np.float32), values], axis=1)
        return {"y": out.reshape(-1) if self.forgets_rows else out}


@dataclass
class Bench:
    """A batcher, its model and its admission, on the running event loop."""

    model: MemoryModel
    admission: Admission
    batcher: Batcher

    def submit(
        self, *values: float, key: LaneKey | None = None, within_s: float = 5.0
    ) -> asyncio.Future[Answer]:
        return self.batcher.submit(key or lane(), column(*values), len(values), monotonic() + within_s)


@pytest.fixture
def make_bench() -> Callable[..., Bench]:
    """Makes a bench; call it inside the event loop."""

    def make(
        *, rows_max: int = 64, in_flight_max: int = 2, waiting_max: int = 1000, window_s_max: float = 0.001
    ) -> Bench:
        model = MemoryModel()
        admission = Admission(AdmissionLimits(rows_max=waiting_max))
        limits = BatchLimits(rows_max=rows_max, in_flight_max=in_flight_max, window_s_max=window_s_max)
        return Bench(model, admission, Batcher(model, admission, limits))

    return make


@pytest.fixture
def run() -> Callable[[Coroutine[Any, Any, T]], T]:
    """Runs a coroutine to its end on an event loop of its own, for at most five seconds."""
    return lambda work: asyncio.run(asyncio.wait_for(work, 5.0))


@pytest.fixture
def lane_of() -> Callable[..., LaneKey]:
    return lane


@pytest.fixture
def poison() -> float:
    return POISON
