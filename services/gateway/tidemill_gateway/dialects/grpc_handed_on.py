"""gRPC requests that serving answers itself: they go to the version that would answer here.

Left alone, serving would take its newest version for a request that names none, and knows nothing of labels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from google.protobuf.wrappers_pb2 import Int64Value

from tidemill_gateway.dialects.grpc_inference import parsed
from tidemill_gateway.dialects.grpc_predict import target_of
from tidemill_gateway.plane.version_book import VersionBook
from tidemill_gateway.wire import inference_pb2, methods, model_pb2, predict_pb2

Specs = Iterable[predict_pb2.ModelSpec]


def _status_specs(request: Any) -> Specs:
    """Status is of all versions, unless a label names one."""
    return [request.model_spec] if request.model_spec.HasField("version_label") else []


SPECS: dict[str, tuple[Any, Callable[[Any], Specs]]] = {
    methods.GET_MODEL_METADATA: (model_pb2.GetModelMetadataRequest, lambda request: [request.model_spec]),
    methods.GET_MODEL_STATUS: (model_pb2.GetModelStatusRequest, _status_specs),
    methods.MULTI_INFERENCE: (
        inference_pb2.MultiInferenceRequest,
        lambda request: [task.model_spec for task in request.tasks],
    ),
}
"""By method: the request's kind, and where in it the model is named."""


async def resolved_request(versions: VersionBook, method: str, data: bytes, sticky: str) -> bytes:
    """The request with the version named, the same one wherever it names the same model.

    Raises:
        Malformed: the bytes are no such request, or it names no model.
        NotFound, Unavailable: as VersionBook.resolve.
    """
    kind, specs_of = SPECS[method]
    request = parsed(kind, data)
    numbers: dict[str, int] = {}
    for spec in specs_of(request):
        target = target_of(spec, sticky)
        if target.model not in numbers:
            numbers[target.model] = (await versions.resolve(target)).version
        spec.version.CopyFrom(Int64Value(value=numbers[target.model]))
    return bytes(request.SerializeToString())
