"""Ingest over HTTP."""

from __future__ import annotations

from collections.abc import Callable

from flask import Blueprint, Request, Response, jsonify, request
from tidemill_contracts.errors import TidemillError, TooLarge, UnsupportedType
from tidemill_contracts.events import SamplesReceived

from tidemill_ingest import measures
from tidemill_ingest.budget import Budget
from tidemill_ingest.handlers import Accepted, Intake
from tidemill_ingest.submissions import read_submission
from tidemill_ingest.uploads import Upload, UploadLimits, read_uploads

LARGE_BODY_BYTES = 1024 * 1024
"""Bodies from here on are counted against the budget; smaller ones are bounded by the number of threads."""


def make_routes(intake: Intake, bodies: Budget, body_bytes_max: int, limits: UploadLimits) -> Blueprint:
    """`POST /v1/samples` and `POST /v1/files`. bodies: bytes of large bodies in hand at once."""
    routes = Blueprint("v1", __name__, url_prefix="/v1")

    @routes.post("/samples")
    def samples() -> tuple[Response, int]:
        return answer("samples", lambda: intake.accept(_posted_samples(request, body_bytes_max)))

    @routes.post("/files")
    def files() -> tuple[Response, int]:
        return answer("files", lambda: intake.accept(*_posted_files(request, limits)))

    def answer(door: str, accept: Callable[[], Accepted]) -> tuple[Response, int]:
        length = body_bytes_max if request.content_length is None else request.content_length
        try:
            if length < LARGE_BODY_BYTES:
                accepted = accept()
            else:
                with bodies.taken(length, wait_s=0.0):
                    accepted = accept()
        except TidemillError as error:
            measures.REFUSED.labels(door, type(error).__name__).inc()
            raise
        body = {
            "ids": accepted.ids,
            "messages": accepted.messages,
            "accepted": len(accepted.ids),
            "warnings": accepted.warnings,
        }
        return jsonify(body), 202

    return routes


def _posted_samples(posted: Request, body_bytes_max: int) -> SamplesReceived:
    if not posted.is_json:
        raise UnsupportedType("send the samples as JSON, with the header Content-Type: application/json")
    _check_encoding(posted)
    body = posted.get_data(cache=False)
    if posted.content_length is None and len(body) >= body_bytes_max:
        # A body sent in chunks ends for us at the limit, without a word.
        raise TooLarge(f"the body is over the limit of {body_bytes_max} bytes: send it in parts")
    return read_submission(body)


def _posted_files(posted: Request, limits: UploadLimits) -> tuple[SamplesReceived, list[str]]:
    if posted.mimetype != "multipart/form-data":
        raise UnsupportedType("send files as multipart/form-data, in parts named file")
    _check_encoding(posted)
    uploads = [
        Upload(file.filename or "", file.mimetype, file.read()) for file in posted.files.getlist("file")
    ]
    return read_uploads(posted.form.to_dict(), uploads, limits)


def _check_encoding(posted: Request) -> None:
    encoding = posted.headers.get("Content-Encoding", "identity")
    if encoding.lower() != "identity":
        raise UnsupportedType(f"bodies are taken as they are, not with Content-Encoding: {encoding}")
