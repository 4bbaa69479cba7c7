"""Answers of late in Redis, for equal requests to the same version. Off unless it is asked for.

An answer's name holds the model, the version, the digest of its content, the signature, and a digest of
inputs and output filter: another model, another version, or the same number with another content, has
other names. Redis is never waited for long, and never needed.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from time import monotonic
from typing import Any

import redis.asyncio
from google.protobuf.message import DecodeError
from google.protobuf.wrappers_pb2 import Int64Value
from prometheus_client import Counter
from redis.exceptions import RedisError
from tidemill_chassis.logs import get_logger
from tidemill_contracts.errors import TidemillError

from tidemill_gateway.plane.calls import Rows
from tidemill_gateway.plane.lanes import Answer, LaneKey
from tidemill_gateway.plane.tensors import array_to_wire, from_wire
from tidemill_gateway.wire import predict_pb2

log = get_logger(__name__)

REDIS_S_MAX = 0.05
"""A Redis that takes longer is taken for stopped."""
AWAY_S = 1.0
"""For so long a Redis that did not answer is not asked again."""
WRITES_MAX = 64
"""Answers on their way to Redis at once; beyond it they are not kept."""
PREFIX = "tidemill:answer:1"
FATES = Counter("tidemill_gateway_cache_total", "Requests by what the prediction cache did", ["fate"])
Digest = Callable[[str, int], Awaitable[str | None]]


@dataclass(frozen=True)
class CacheLimits:
    """seconds: how long an answer is kept; 0: no cache. request_bytes_max: of inputs that are looked up.

    answer_bytes_max: of one answer. bytes_max: of all that this gateway keeps there at once.
    """

    seconds: float = 0.0
    request_bytes_max: int = 256 * 2**10
    answer_bytes_max: int = 64 * 2**10
    bytes_max: int = 64 * 2**20


class AnswerCache:
    """Belongs to one event loop. digest: of a version's content; None where nobody knows it, so no cache."""

    def __init__(
        self, url: str, limits: CacheLimits, digest: Digest, clock: Callable[[], float] = monotonic
    ) -> None:
        self._limits = limits
        self._digest = digest
        self._clock = clock
        self._redis: Any = redis.asyncio.Redis.from_url(
            url, socket_timeout=REDIS_S_MAX, socket_connect_timeout=REDIS_S_MAX, retry=None
        )
        self._away_until_s = 0.0
        self._written = _Written(limits.seconds, limits.bytes_max)
        self._tasks: set[asyncio.Task[None]] = set()

    async def name_of(self, key: LaneKey, rows: Rows) -> str | None:
        """What the answer to these rows is called; None where it is neither looked up nor kept."""
        if self._clock() < self._away_until_s:
            FATES.labels("away").inc()
            return None
        if sum(column.size_bytes for column in rows.columns) > self._limits.request_bytes_max:
            FATES.labels("too_large").inc()
            return None
        try:
            digest = await self._digest(key.model, key.version)
        except TidemillError:
            digest = None
        if digest is None:
            FATES.labels("nameless").inc()
            return None
        return f"{PREFIX}:{key.model}:{key.version}:{digest}:{key.signature}:{_digest_of(key, rows)}"

    async def get(self, name: str, key: LaneKey) -> Answer | None:
        """The answer of that name; None where there is none, or nothing that can be read."""
        try:
            data = await self._redis.get(name)
        except (RedisError, OSError, TimeoutError) as error:
            self._lost(error)
            return None
        answer = None if data is None else _read(data, key)
        FATES.labels("miss" if answer is None else "hit").inc()
        return answer

    def put(self, name: str, key: LaneKey, answer: Answer) -> None:
        """Keep an answer, if the limits allow it. Nobody waits for this."""
        data = _dump(key, answer)
        if len(data) > self._limits.answer_bytes_max:
            FATES.labels("too_large").inc()
        elif len(self._tasks) >= WRITES_MAX or not self._written.add(len(name) + len(data), self._clock()):
            FATES.labels("full").inc()
        else:
            task = asyncio.get_running_loop().create_task(self._keep(name, data))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Let go of the connections."""
        for task in self._tasks:
            task.cancel()
        await self._redis.aclose()

    async def _keep(self, name: str, data: bytes) -> None:
        try:
            await self._redis.set(name, data, px=max(1, int(self._limits.seconds * 1000)))
        except (RedisError, OSError, TimeoutError) as error:
            self._lost(error)
        else:
            FATES.labels("kept").inc()

    def _lost(self, error: Exception) -> None:
        self._away_until_s = self._clock() + AWAY_S
        FATES.labels("away").inc()
        log.debug("cache_away", error=str(error))


class _Written:
    """Bounds what was written and has not yet expired: this and the last span of `seconds` together."""

    def __init__(self, seconds: float, bytes_max: int) -> None:
        self._seconds = seconds
        self._bytes_max = bytes_max
        self._since_s = float("-inf")
        self._now = self._before = 0

    def add(self, size_bytes: int, now_s: float) -> bool:
        """Whether so much more may be written now."""
        if now_s - self._since_s >= self._seconds:
            recent = now_s - self._since_s < 2 * self._seconds
            self._before, self._now, self._since_s = self._now if recent else 0, 0, now_s
        if self._before + self._now + size_bytes > self._bytes_max:
            return False
        self._now += size_bytes
        return True


def _digest_of(key: LaneKey, rows: Rows) -> str:
    """Over everything that a lane keeps apart and over the rows themselves, each part with its length."""
    digest = hashlib.sha256(repr((key.inputs, key.output_filter, key.batchable, rows.count)).encode())
    for column in rows.columns:
        parts = [column.content] if isinstance(column.content, bytes) else column.content
        for part in parts:
            digest.update(b"%d:" % len(part))
            digest.update(part)
    return digest.hexdigest()


def _dump(key: LaneKey, answer: Answer) -> bytes:
    spec = predict_pb2.ModelSpec(
        name=key.model, version=Int64Value(value=answer.version), signature_name=key.signature
    )
    outputs = {name: array_to_wire(array) for name, array in answer.outputs.items()}
    return predict_pb2.PredictResponse(model_spec=spec, outputs=outputs).SerializeToString()


def _read(data: bytes, key: LaneKey) -> Answer | None:
    """The answer; None unless it says itself that it is this model's, this version's and this signature's."""
    try:
        reply = predict_pb2.PredictResponse.FromString(data)
        spec = reply.model_spec
        if (spec.name, spec.version.value, spec.signature_name) != (key.model, key.version, key.signature):
            return None
        outputs = {name: from_wire(tensor) for name, tensor in reply.outputs.items()}
    except (DecodeError, TidemillError):
        return None
    return Answer(outputs, key.model, key.version, 0, 0.0, 0.0, cached=True)
