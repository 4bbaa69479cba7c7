"""The hot route: ``POST /v1/models/MODEL[/versions/N|/labels/L]:predict``, straight from the connection."""

from __future__ import annotations

import asyncio
import math
import re
from urllib.parse import unquote

from tidemill_chassis.logs import get_logger
from tidemill_chassis.web import RETRY_AFTER_S
from tidemill_contracts.errors import Corrupt, Malformed, TidemillError, Unavailable

from tidemill_gateway.dialects import tfserving
from tidemill_gateway.handlers import Plane, predict
from tidemill_gateway.metrics import RequestMetrics
from tidemill_gateway.plane.lanes import Answer
from tidemill_gateway.plane.versions import Resolved, Target
from tidemill_gateway.prediction_log import PredictionLog
from tidemill_gateway.server.messages import Request, Response

log = get_logger(__name__)

PATH = re.compile(rb"/v1/models/([^/:?]+)(?:/versions/(\d+)|/labels/([^/:?]+))?:predict(?:\?.*)?")
VERSION_MAX = 2**63 - 1
TIMEOUT_HEADER = b"x-request-timeout"
STICKY_HEADER = b"x-tidemill-sticky"
STICKY_BYTES_MAX = 256
DIALECT = "tfserving"


class PredictRoute:
    """request_s_max: how long a request may take that asks for no shorter time."""

    def __init__(
        self, plane: Plane, *, request_s_max: float, prediction_log: PredictionLog | None = None
    ) -> None:
        self._log = prediction_log
        self._plane = plane
        self._request_s_max = request_s_max
        self._metrics = RequestMetrics(DIALECT)

    async def __call__(self, request: Request, match: re.Match[bytes]) -> Response:
        """The answer to a request whose path matched PATH; every error has become a response."""
        started_s = asyncio.get_running_loop().time()
        try:
            target = _target(match, request.header(STICKY_HEADER))
            call = tfserving.PredictCall(request.body)
            resolved, answer = await predict(self._plane, target, call, self._timeout_s(request))
            body = tfserving.render(answer, columnar=call.columnar)
        except TidemillError as error:
            return self._failed(error)
        took_s = asyncio.get_running_loop().time() - started_s
        self._metrics.answered(resolved, call.signature_name, took_s)
        if self._log is not None:
            self._log.offer(
                request.body,
                body,
                model=resolved.model,
                version=resolved.version,
                label=resolved.label,
                signature=call.signature_name,
                dialect=DIALECT,
                batch_rows=answer.batch_rows,
                queue_ms=answer.queue_s * 1000,
                compute_ms=answer.compute_s * 1000,
            )
        return Response(200, body, headers=_truth(resolved, answer))

    def _timeout_s(self, request: Request) -> float:
        asked = request.header(TIMEOUT_HEADER)
        if not asked:
            return self._request_s_max
        try:
            seconds = float(asked)
        except ValueError:
            seconds = math.nan
        if not seconds > 0:
            raise Malformed("X-Request-Timeout must be a number of seconds above 0, such as 1.5")
        return min(seconds, self._request_s_max)

    def _failed(self, error: TidemillError) -> Response:
        status, body = tfserving.render_error(error)
        self._metrics.refused(error)
        if isinstance(error, Corrupt):
            log.error("prediction_failed", error=error)
        return Response(status, body, headers=retry_after(error))


def retry_after(error: TidemillError) -> tuple[tuple[bytes, bytes], ...]:
    """When to come back, for errors that pass."""
    if not isinstance(error, Unavailable):
        return ()
    wait_s = RETRY_AFTER_S if error.retry_after_s is None else error.retry_after_s
    return ((b"Retry-After", b"%d" % max(1, math.ceil(wait_s))),)


def _target(match: re.Match[bytes], sticky: bytes) -> Target:
    model, version, label = match.groups()
    number = None if version is None else int(version[:20])
    if number is not None and number > VERSION_MAX:
        raise Malformed(f"Failed to convert version: {version.decode()} is too large")
    return Target(
        _name(model),
        number,
        None if label is None else _name(label),
        sticky[:STICKY_BYTES_MAX].decode("latin-1"),
    )


def _name(raw: bytes) -> str:
    try:
        return unquote(raw.decode("ascii"), errors="strict")
    except UnicodeDecodeError as error:
        raise Malformed("the path is not UTF-8") from error


def _truth(resolved: Resolved, answer: Answer) -> tuple[tuple[bytes, bytes], ...]:
    """Who answered, in which company and how fast."""
    return (
        (b"X-Tidemill-Model", resolved.model.encode("utf-8")),
        (b"X-Tidemill-Model-Version", b"%d" % resolved.version),
        (b"X-Tidemill-Model-Label", resolved.label.encode("ascii")),
        (b"X-Tidemill-Batch-Rows", b"%d" % answer.batch_rows),
        (b"X-Tidemill-Queue-Ms", b"%.3f" % (answer.queue_s * 1000)),
        (b"X-Tidemill-Compute-Ms", b"%.3f" % (answer.compute_s * 1000)),
    )
