"""What is said to a gateway and what it says back. No network, no clock."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import numpy as np
import numpy.typing as npt
import orjson

TRY_AGAIN = frozenset({429, 503})
Array = npt.NDArray[Any]


class GatewayError(Exception):
    """Base of what goes wrong with a gateway."""


class Refused(GatewayError):
    """The gateway said no; the text is its own.

    status: the HTTP status. retry_after_s: when to come back, where it said so.
    """

    def __init__(self, status: int, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status
        self.retry_after_s = retry_after_s


class Unreachable(GatewayError):
    """No answer came: no connection, or it broke, or the time was over."""


@dataclass(frozen=True)
class Prediction:
    """An answer and who gave it.

    values: one array of shape [rows, ...], or one per output where the model has several.
    label: what the version was asked as, or bears; empty for none.
    batch_rows: rows of all callers that the model ran together.
    cached: the gateway knew the answer of the same version to the same rows.
    """

    values: Array | dict[str, Array]
    model: str
    version: int
    label: str
    batch_rows: int
    queue_ms: float
    compute_ms: float
    cached: bool = False


@dataclass(frozen=True)
class Ask:
    """One request, ready to be sent."""

    method: str
    path: str
    body: bytes | None
    headers: dict[str, str]


def ask_prediction(
    model: str,
    instances: Any,
    *,
    version: int | None = None,
    label: str | None = None,
    signature: str | None = None,
    sticky: str | None = None,
) -> Ask:
    """A prediction for rows: an array, a list of values, or a list of objects of inputs; bytes anywhere.

    Raises:
        ValueError: both a version and a label are named.
    """
    if version is not None and label is not None:
        raise ValueError("name a version or a label, not both")
    path = model_path(model)
    if version is not None:
        path += f"/versions/{version}"
    elif label is not None:
        path += f"/labels/{quote(label, safe='')}"
    document: dict[str, Any] = {"instances": _plain(instances)}
    if signature is not None:
        document["signature_name"] = signature
    headers = {} if sticky is None else {"X-Tidemill-Sticky": sticky}
    return Ask("POST", f"{path}:predict", _dump(document), headers)


def ask(method: str, path: str, document: Mapping[str, Any] | None = None) -> Ask:
    """Anything else."""
    return Ask(method, path, None if document is None else orjson.dumps(document), {})


def model_path(model: str) -> str:
    """Where everything of a model is asked."""
    return f"/v1/models/{quote(model, safe='')}"


def read_prediction(body: bytes, headers: Mapping[str, str]) -> Prediction:
    """The answer to a prediction.

    Raises:
        GatewayError: it is not one.
    """
    try:
        return Prediction(
            values=_arrays(_load(body)["predictions"]),
            model=headers["x-tidemill-model"],
            version=int(headers["x-tidemill-model-version"]),
            label=headers["x-tidemill-model-label"],
            batch_rows=int(headers["x-tidemill-batch-rows"]),
            queue_ms=float(headers["x-tidemill-queue-ms"]),
            compute_ms=float(headers["x-tidemill-compute-ms"]),
            cached=headers.get("x-tidemill-cache") == "hit",
        )
    except (KeyError, TypeError, ValueError) as error:
        raise GatewayError(f"this is no gateway's answer: {body[:200]!r}") from error


def read_document(body: bytes) -> dict[str, Any]:
    """Any other answer; raises as `read_prediction` does."""
    try:
        document = orjson.loads(body)
    except ValueError as error:
        raise GatewayError(f"this is no gateway's answer: {body[:200]!r}") from error
    if not isinstance(document, dict):
        raise GatewayError(f"this is no gateway's answer: {body[:200]!r}")
    return document


def read_refusal(status: int, body: bytes, headers: Mapping[str, str]) -> Refused:
    """What an answer that is not 200 means."""
    try:
        message = str(orjson.loads(body)["error"])
    except (KeyError, TypeError, ValueError):
        message = body[:200].decode("utf-8", "replace") or "no reason given"
    try:
        wait_s = float(headers["retry-after"])
    except (KeyError, ValueError):
        return Refused(status, message)
    return Refused(status, message, wait_s)


def _plain(value: Any) -> Any:
    """The value with bytes spelled ``{"b64": ...}`` and arrays as orjson takes them."""
    if isinstance(value, bytes | bytearray):
        return {"b64": base64.b64encode(value).decode("ascii")}
    if isinstance(value, np.ndarray):
        return _plain(value.tolist()) if value.dtype.kind in "OSU" else np.ascontiguousarray(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(item) for item in value]
    return value


def _dump(document: dict[str, Any]) -> bytes:
    body = orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)
    if b"null" in body:
        raise ValueError("instances hold NaN, an infinity or None, which no model was asked to take")
    return body


def _load(body: bytes) -> Any:
    """The gateway writes NaN and Infinity bare, as TensorFlow Serving does; orjson does not read them."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return json.loads(body)


def _arrays(predictions: Any) -> Array | dict[str, Array]:
    if predictions and all(isinstance(row, dict) and row.keys() != {"b64"} for row in predictions):
        return {name: np.array([row[name] for row in predictions]) for name in predictions[0]}
    return np.array(predictions)
