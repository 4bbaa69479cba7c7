"""Flask applications that answer errors, health and metrics all alike."""

from __future__ import annotations

import math
from collections.abc import Callable

from flask import Flask, Response, jsonify
from tidemill_contracts.errors import (
    Conflict,
    Corrupt,
    InvalidInput,
    Malformed,
    NotFound,
    Overloaded,
    TidemillError,
    TooLarge,
    Unavailable,
    UnsupportedType,
)
from werkzeug.exceptions import HTTPException

from tidemill_chassis import metrics
from tidemill_chassis.health import readiness
from tidemill_chassis.logs import get_logger

log = get_logger(__name__)

STATUS: tuple[tuple[type[TidemillError], int], ...] = (
    (Malformed, 400),
    (TooLarge, 413),
    (UnsupportedType, 415),
    (InvalidInput, 422),
    (NotFound, 404),
    (Conflict, 409),
    (Overloaded, 429),
    (Unavailable, 503),
    (Corrupt, 500),
)
"""HTTP status per class of error: the first that fits. The only place where this is decided."""

RETRY_AFTER_S = 1.0
RenderError = Callable[[str, str, str | None], object]


def status_of(error: TidemillError) -> int:
    """The HTTP status of an error's class."""
    return next((status for kind, status in STATUS if isinstance(error, kind)), 500)


def create_app(
    name: str,
    *,
    body_bytes_max: int,
    ready: Callable[[], None],
    render_error: RenderError | None = None,
) -> Flask:
    """An application with /healthz, /readyz, /metrics and errors as JSON.

    body_bytes_max: a larger body is answered with 413 before it is read.
    ready: raises with the reason when the service cannot do its work.
    render_error: makes the body of an error from its kind, message and field.
    """
    app = Flask(name, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = body_bytes_max
    app.config["MAX_FORM_MEMORY_SIZE"] = body_bytes_max
    render = render_error or _error_body

    def answer(status: int, kind: str, message: str, field: str | None = None) -> Response:
        response = jsonify(render(kind, message, field))
        response.status_code = status
        return response

    @app.errorhandler(TidemillError)
    def expected(error: TidemillError) -> Response:
        field = error.field if isinstance(error, InvalidInput) else None
        response = answer(status_of(error), type(error).__name__, str(error), field)
        if isinstance(error, Unavailable):
            wait_s = RETRY_AFTER_S if error.retry_after_s is None else error.retry_after_s
            response.headers["Retry-After"] = str(max(1, math.ceil(wait_s)))
            log.warning("request_refused", error=error)
        if isinstance(error, Corrupt):
            log.error("stored_data_corrupt", error=error)
        return response

    @app.errorhandler(HTTPException)
    def refused(error: HTTPException) -> Response:
        message = error.description or error.name
        if error.code == 413:
            message = f"the body is over the limit of {body_bytes_max} bytes: send it in parts"
        response = answer(error.code or 500, error.name.replace(" ", ""), message)
        response.headers.extend(
            [
                pair
                for pair in error.get_headers()
                if pair[0].lower() not in {"content-type", "content-length"}
            ]
        )
        return response

    @app.errorhandler(Exception)
    def unexpected(error: Exception) -> Response:
        log.error("request_failed", error=error)
        return answer(500, "InternalError", "something went wrong here; the log says what")

    @app.get("/healthz")
    def healthz() -> Response:
        return jsonify({"status": "alive"})

    @app.get("/readyz")
    def readyz() -> tuple[Response, int]:
        status, body = readiness(ready)
        return jsonify(body), status

    @app.get("/metrics")
    def prometheus() -> Response:
        return Response(metrics.exposition(), content_type=metrics.CONTENT_TYPE)

    return app


def _error_body(kind: str, message: str, field: str | None) -> object:
    error = {"type": kind, "message": message}
    return {"error": error if field is None else {**error, "field": field}}
