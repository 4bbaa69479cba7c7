"""TensorFlow Serving's REST dialect: its paths, its three calls, its errors."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from urllib.parse import unquote

import orjson
from tidemill_chassis.web import status_of
from tidemill_contracts.errors import InvalidInput, Malformed, TidemillError, TooLarge, UnsupportedType

from tidemill_gateway.dialects.rest import RestCall, RestDialect
from tidemill_gateway.dialects.tfserving_inference import ClassifyCall, RegressCall
from tidemill_gateway.dialects.tfserving_predict import PredictCall
from tidemill_gateway.errors import DeadlineExceeded, Forbidden, Unauthenticated, Unsupported
from tidemill_gateway.plane.versions import Target

PATH = re.compile(
    rb"/v1/models/([^/:?]+)(?:/versions/(\d+)|/labels/([^/:?]+))?:(predict|classify|regress)(?:\?.*)?"
)
VERSION_MAX = 2**63 - 1
TARGETS_CACHED_MAX = 1024
"""Whom paths ask; the longest path is bounded by the server."""
_CALLS: dict[bytes, Callable[[bytes], RestCall]] = {
    b"predict": PredictCall,
    b"classify": ClassifyCall,
    b"regress": RegressCall,
}


def read(match: re.Match[bytes], body: bytes) -> tuple[Target, RestCall]:
    """Whom a request asks, and what; raises InvalidInput."""
    model, version, label, method = match.groups()
    return _target(model, version, label), _CALLS[method](body)


@lru_cache(maxsize=TARGETS_CACHED_MAX)
def _target(model: bytes, version: bytes | None, label: bytes | None) -> Target:
    number = None if version is None else int(version[:20])
    if version is not None and number is not None and number > VERSION_MAX:
        raise Malformed(f"Failed to convert version: {version.decode()} is too large")
    return Target(_name(model), number, None if label is None else _name(label))


def _name(raw: bytes) -> str:
    try:
        return unquote(raw.decode("ascii"), errors="strict")
    except UnicodeDecodeError as error:
        raise Malformed("the path is not UTF-8") from error


def render_error(error: TidemillError) -> tuple[int, bytes]:
    """Status and body of an error, by TensorFlow Serving's map."""
    status = status_of(error)
    if isinstance(error, DeadlineExceeded):
        status = 504
    elif isinstance(error, Unsupported):
        status = 501
    elif isinstance(error, Unauthenticated):
        status = 401
    elif isinstance(error, Forbidden):
        status = 403
    elif isinstance(error, InvalidInput) and not isinstance(error, TooLarge | UnsupportedType):
        status = 400
    return status, orjson.dumps({"error": str(error)})


DIALECT = RestDialect("tfserving", PATH, read, render_error)
