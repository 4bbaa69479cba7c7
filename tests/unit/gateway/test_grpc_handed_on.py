"""What serving answers itself is asked of the version that would answer here."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from google.protobuf.wrappers_pb2 import Int64Value
from tidemill_contracts.errors import Malformed
from tidemill_gateway.dialects.grpc_handed_on import resolved_request
from tidemill_gateway.plane.versions import Resolved, Target
from tidemill_gateway.wire import inference_pb2, methods, model_pb2, predict_pb2


class Book:
    """Says another version for every call, so that asking twice shows."""

    def __init__(self) -> None:
        self.asked: list[Target] = []

    async def resolve(self, target: Target) -> Resolved:
        self.asked.append(target)
        return Resolved(target.model, 6 + len(self.asked), "stable")


def resolved(method: str, request: Any) -> tuple[Any, Book]:
    book: Any = Book()
    data = asyncio.run(resolved_request(book, method, request.SerializeToString(), "me"))
    return type(request).FromString(data), book


def task(name: str, signature: str) -> inference_pb2.InferenceTask:
    spec = predict_pb2.ModelSpec(name=name, signature_name=signature, version_label="stable")
    return inference_pb2.InferenceTask(model_spec=spec, method_name="tensorflow/serving/classify")


def test_several_tasks_go_to_one_version() -> None:
    given = inference_pb2.Input(example_list=inference_pb2.ExampleList(examples=[inference_pb2.Example()]))
    request = inference_pb2.MultiInferenceRequest(
        tasks=[task("digits", "one"), task("digits", "two")], input=given
    )

    found, book = resolved(methods.MULTI_INFERENCE, request)

    assert [one.model_spec.version.value for one in found.tasks] == [7, 7]
    assert [one.model_spec.signature_name for one in found.tasks] == ["one", "two"]
    assert found.input == given
    assert book.asked == [Target("digits", None, "stable", "me")]


def test_metadata_names_its_version() -> None:
    request = model_pb2.GetModelMetadataRequest(
        model_spec=predict_pb2.ModelSpec(name="digits"), metadata_field=["signature_def"]
    )

    found, _ = resolved(methods.GET_MODEL_METADATA, request)

    assert found.model_spec.version.value == 7
    assert list(found.metadata_field) == ["signature_def"]


def test_status_is_of_all_versions_unless_a_label_names_one() -> None:
    for spec, number in (
        (predict_pb2.ModelSpec(name="digits"), None),
        (predict_pb2.ModelSpec(name="digits", version=Int64Value(value=3)), 3),
        (predict_pb2.ModelSpec(name="digits", version_label="previous"), 7),
    ):
        found, _ = resolved(methods.GET_MODEL_STATUS, model_pb2.GetModelStatusRequest(model_spec=spec))

        asked = found.model_spec.version.value if found.model_spec.HasField("version") else None
        assert asked == number


def test_who_names_no_model_is_refused() -> None:
    with pytest.raises(Malformed):
        resolved(methods.GET_MODEL_METADATA, model_pb2.GetModelMetadataRequest())
