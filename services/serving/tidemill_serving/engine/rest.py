"""The REST API: paths, verbs and status codes as the server has them. No sockets here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote_to_bytes

import orjson
from google.protobuf import json_format
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_pb2,
    regression_pb2,
)
from tidemill_chassis.logs import get_logger

from tidemill_serving.engine.core import Core
from tidemill_serving.engine.examples import fill_input
from tidemill_serving.engine.inference import classify, regress
from tidemill_serving.engine.json_document import parse_object
from tidemill_serving.engine.json_output import (
    error_body,
    float_json,
    scores_body,
    string_json,
    write_tensors,
)
from tidemill_serving.engine.json_predict import read_tensors, signature_name
from tidemill_serving.engine.metadata import SIGNATURE_DEF, model_metadata, model_status
from tidemill_serving.engine.predict import DEFAULT_SIGNATURE, check_method, run_all
from tidemill_serving.engine.status import Code, StatusError, from_exception, invalid_argument

log = get_logger(__name__)

JSON = "application/json"
VERSION_HEADER = "X-Tidemill-Model-Version"
_NAMED = r"/v1/models/([^/:]+)(?:/versions/(\d+)|/labels/([^/:]+))?"
_INFERENCE = re.compile(_NAMED + r":(classify|regress|predict)", re.IGNORECASE | re.ASCII)
_STATUS = re.compile(
    r"/v1/models(?:/([^/:]+))?(?:/versions/(\d+)|/labels/([^/:]+))?(?:/(metadata))?",
    re.IGNORECASE | re.ASCII,
)
_PREFIX = re.compile(r"/v1/.*", re.IGNORECASE | re.DOTALL)
VERSION_MAX = 2**63 - 1
HTTP_STATUS = {
    Code.OK: 200,
    Code.CANCELLED: 499,
    Code.INVALID_ARGUMENT: 400,
    Code.FAILED_PRECONDITION: 400,
    Code.OUT_OF_RANGE: 400,
    Code.UNAUTHENTICATED: 401,
    Code.PERMISSION_DENIED: 403,
    Code.NOT_FOUND: 404,
    Code.ALREADY_EXISTS: 409,
    Code.ABORTED: 409,
    Code.RESOURCE_EXHAUSTED: 429,
    Code.UNIMPLEMENTED: 501,
    Code.UNAVAILABLE: 503,
    Code.DEADLINE_EXCEEDED: 504,
}


@dataclass(frozen=True)
class Answer:
    """What goes back over HTTP."""

    status: int
    body: bytes
    content_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)


def is_ours(path: str) -> bool:
    """Whether the path belongs to the API at all; elsewhere even the errors are plain."""
    return _PREFIX.fullmatch(path) is not None


def answer(core: Core, verb: str, path: str, body: bytes, *, deadline_s: float | None = None) -> Answer:
    """Answer a request. path: as it came, with its query: the server matches both together."""
    try:
        inference = _INFERENCE.fullmatch(path) if verb == "POST" else None
        if inference is not None and inference[4] in {"classify", "regress", "predict"}:
            spec = _spec(inference[1], inference[2], inference[3])
            return {"classify": _classify, "regress": _regress, "predict": _predict}[inference[4]](
                core, spec, body, deadline_s
            )
        status = _STATUS.fullmatch(path) if verb == "GET" else None
        if status is not None and status[4] in {None, "metadata"}:
            if status[1] is None:
                raise invalid_argument("Missing model name in request.")
            spec = _spec(status[1], status[2], status[3])
            return _metadata(core, spec) if status[4] else _status(core, spec)
        raise invalid_argument(f"Malformed request: {verb} {path}")
    except Exception as error:  # noqa: BLE001  (the one place where failures become HTTP statuses)
        failure = from_exception(error)
        if not isinstance(error, StatusError):
            log.error("request_failed", error=error)
    return Answer(HTTP_STATUS.get(failure.code, 500), error_body(failure.message))


def _spec(name: str, version: str | None, label: str | None) -> Any:
    spec = model_pb2.ModelSpec()
    spec.name = _decoded(name)
    if version is not None:
        if int(version) > VERSION_MAX:
            raise invalid_argument(f"Failed to convert version: {version} to numeric.")
        spec.version.value = int(version)
    elif label is not None:
        spec.version_label = _decoded(label)
    return spec


def _decoded(text: str) -> str:
    return unquote_to_bytes(text.encode("utf-8", "surrogateescape")).decode("utf-8", "replace")


def _predict(core: Core, spec: Any, body: bytes, deadline_s: float | None) -> Answer:
    """The version is resolved once: what the inputs were checked against is what computes."""
    document = parse_object(body)
    asked = signature_name(document)
    with core.handle(spec) as handle:
        name = asked or DEFAULT_SIGNATURE
        signature = handle.servable.signatures.get(name)
        if signature is None:
            raise invalid_argument(f'Serving signature name: "{name}" not found in signature def')
        dtypes = {alias: int(info.dtype) for alias, info in sorted(signature.inputs.items())}
        if not dtypes:
            raise invalid_argument(f"Failed to get input map for signature: {asked or 'DEFAULT'}")
        tensors, layout = read_tensors(document, dtypes)
        check_method(signature)
        outputs = run_all(handle.servable, name, tensors, deadline_s=deadline_s)
        version = handle.version
    return Answer(200, write_tensors(outputs, layout), headers={VERSION_HEADER: str(version)})


def _classify(core: Core, spec: Any, body: bytes, deadline_s: float | None) -> Answer:
    request = classification_pb2.ClassificationRequest()
    _fill_request(request, spec, body)
    response = classify(core, request, deadline_s=deadline_s)
    listed = (
        b"["
        + b", ".join(b"[%s, %s]" % (string_json(c.label.encode()), float_json(c.score)) for c in each.classes)
        + b"]"
        for each in response.result.classifications
    )
    return Answer(200, scores_body(b"[" + b", ".join(listed) + b"]"), headers=_version(response))


def _regress(core: Core, spec: Any, body: bytes, deadline_s: float | None) -> Answer:
    request = regression_pb2.RegressionRequest()
    _fill_request(request, spec, body)
    response = regress(core, request, deadline_s=deadline_s)
    listed = (float_json(each.value) for each in response.result.regressions)
    return Answer(200, scores_body(b"[" + b", ".join(listed) + b"]"), headers=_version(response))


def _fill_request(request: Any, spec: Any, body: bytes) -> None:
    request.model_spec.CopyFrom(spec)
    document = parse_object(body)
    request.model_spec.signature_name = signature_name(document)
    fill_input(document, request.input)


def _version(response: Any) -> dict[str, str]:
    return {VERSION_HEADER: str(response.model_spec.version.value)}


def _status(core: Core, spec: Any) -> Answer:
    response = model_status(core, get_model_status_pb2.GetModelStatusRequest(model_spec=spec))
    return Answer(200, _proto_json(response))


def _metadata(core: Core, spec: Any) -> Answer:
    request = get_model_metadata_pb2.GetModelMetadataRequest(model_spec=spec, metadata_field=[SIGNATURE_DEF])
    response = model_metadata(core, request)
    signatures = get_model_metadata_pb2.SignatureDefMap()
    response.metadata[SIGNATURE_DEF].Unpack(signatures)
    document = {
        "model_spec": _proto_dict(response.model_spec),
        "metadata": {SIGNATURE_DEF: _proto_dict(signatures)},
    }
    return Answer(200, orjson.dumps(document, option=orjson.OPT_INDENT_2))


def _proto_dict(message: Any) -> dict[str, Any]:
    listed: dict[str, Any] = json_format.MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    return listed


def _proto_json(message: Any) -> bytes:
    return orjson.dumps(_proto_dict(message), option=orjson.OPT_INDENT_2)
