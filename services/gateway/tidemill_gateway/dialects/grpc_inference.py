"""TensorFlow Serving's gRPC classify and regress."""

from __future__ import annotations

from typing import Any, TypeVar

from google.protobuf.message import DecodeError, Message
from google.protobuf.wrappers_pb2 import Int64Value
from tidemill_contracts.errors import Malformed

from tidemill_gateway.dialects.example_calls import CLASSIFY, REGRESS, ExamplesCall
from tidemill_gateway.dialects.grpc_json import message_as_json
from tidemill_gateway.dialects.grpc_predict import target_of
from tidemill_gateway.plane.lanes import Answer
from tidemill_gateway.plane.signatures import DEFAULT_SIGNATURE
from tidemill_gateway.plane.versions import Resolved, Target
from tidemill_gateway.wire import inference_pb2 as pb
from tidemill_gateway.wire import predict_pb2

Parsed = TypeVar("Parsed", bound=Message)


class GrpcClassifyCall(ExamplesCall):
    """A ClassificationRequest as the data plane takes it; raises Malformed if the bytes are none."""

    def __init__(self, data: bytes) -> None:
        request = self._request = parsed(pb.ClassificationRequest, data)
        self._spec = request.model_spec
        super().__init__(CLASSIFY, self._spec.signature_name or DEFAULT_SIGNATURE, request.input)

    def target(self, sticky: str = "") -> Target:
        """Whom it asks."""
        return target_of(self._spec, sticky)

    def as_json(self, reply: bytes) -> tuple[Any, Any]:
        """Request and response for the log."""
        return message_as_json(self._request), message_as_json(pb.ClassificationResponse.FromString(reply))

    def render(self, resolved: Resolved, answer: Answer) -> bytes:
        """The ClassificationResponse."""
        listed = [
            pb.Classifications(classes=[pb.Class(label=label, score=score) for label, score in row])
            for row in self.classes(answer)
        ]
        result = pb.ClassificationResult(classifications=listed)
        spec = answered_spec(resolved, self.signature_name)
        return pb.ClassificationResponse(result=result, model_spec=spec).SerializeToString()


class GrpcRegressCall(ExamplesCall):
    """A RegressionRequest as the data plane takes it; raises Malformed if the bytes are none."""

    def __init__(self, data: bytes) -> None:
        request = self._request = parsed(pb.RegressionRequest, data)
        self._spec = request.model_spec
        super().__init__(REGRESS, self._spec.signature_name or DEFAULT_SIGNATURE, request.input)

    def target(self, sticky: str = "") -> Target:
        """Whom it asks."""
        return target_of(self._spec, sticky)

    def as_json(self, reply: bytes) -> tuple[Any, Any]:
        """Request and response for the log."""
        return message_as_json(self._request), message_as_json(pb.RegressionResponse.FromString(reply))

    def render(self, resolved: Resolved, answer: Answer) -> bytes:
        """The RegressionResponse."""
        listed = [pb.Regression(value=value) for value in self.values(answer)]
        result = pb.RegressionResult(regressions=listed)
        spec = answered_spec(resolved, self.signature_name)
        return pb.RegressionResponse(result=result, model_spec=spec).SerializeToString()


def answered_spec(resolved: Resolved, signature_name: str) -> predict_pb2.ModelSpec:
    """Who answered, as a response says it."""
    version = Int64Value(value=resolved.version)
    return predict_pb2.ModelSpec(name=resolved.model, version=version, signature_name=signature_name)


def parsed(kind: type[Parsed], data: bytes) -> Parsed:
    """The message; raises Malformed if the bytes are none."""
    try:
        return kind.FromString(data)
    except DecodeError as error:
        raise Malformed(f"not a {kind.DESCRIPTOR.name}: {error}") from error
