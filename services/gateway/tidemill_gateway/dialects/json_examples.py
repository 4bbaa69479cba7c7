"""Examples from JSON, by TensorFlow Serving's rules.

Decimals are floats, whole numbers and booleans int64, strings and ``{"b64": ...}`` bytes; a feature has
values of one kind.
"""

from __future__ import annotations

from typing import Any

from tidemill_contracts.errors import Malformed
from tidemill_contracts.samples import decode_base64

from tidemill_gateway.wire import inference_pb2

CONTEXT, EXAMPLES = "context", "examples"
_KINDS = {"bytes_list": "bytes", "float_list": "float", "int64_list": "int64"}
_INT64 = range(-(2**63), 2**63)


def read_examples(document: dict[str, Any]) -> inference_pb2.Input:
    """The ``examples`` of a document, and the ``context`` that they share, if it has one.

    Raises:
        Malformed: there are none, or one of them is not an object of features.
    """
    listed = document.get(EXAMPLES)
    if EXAMPLES not in document:
        raise Malformed("When method is classify, key 'examples' is expected and was not found")
    if not isinstance(listed, list):
        raise Malformed("Expecting 'examples' value to be an list/array")
    if not listed:
        raise Malformed("'examples' value is an empty array")
    examples = [_example(value, f"examples[{index}]") for index, value in enumerate(listed)]
    if CONTEXT not in document:
        return inference_pb2.Input(example_list=inference_pb2.ExampleList(examples=examples))
    both = inference_pb2.ExampleListWithContext(
        examples=examples, context=_example(document[CONTEXT], CONTEXT)
    )
    return inference_pb2.Input(example_list_with_context=both)


def _example(value: Any, where: str) -> inference_pb2.Example:
    if not isinstance(value, dict):
        raise Malformed(f"Example must be JSON object: {where} is not")
    example = inference_pb2.Example()
    features = example.features.feature
    for name, content in value.items():
        feature = features[name]
        for item in content if isinstance(content, list) else [content]:
            _add(item, name, feature)
    return example


def _add(value: Any, name: str, feature: inference_pb2.Feature) -> None:
    if isinstance(value, bool | int):
        _be(feature, "int64_list", name)
        if value not in _INT64:
            raise Malformed(f"Feature: {name} has uint64 element. Only int64 is supported.")
        feature.int64_list.value.append(int(value))
    elif isinstance(value, float):
        _be(feature, "float_list", name)
        feature.float_list.value.append(value)
    elif isinstance(value, str):
        _be(feature, "bytes_list", name)
        feature.bytes_list.value.append(value.encode("utf-8", "surrogatepass"))
    elif isinstance(value, dict) and value.keys() == {"b64"} and isinstance(value["b64"], str):
        _be(feature, "bytes_list", name)
        try:
            feature.bytes_list.value.append(decode_base64(value["b64"]))
        except ValueError as error:
            raise Malformed(f"Feature: {name}: the value of b64 is {error}") from error
    else:
        raise Malformed(f"Feature: {name} has element with unexpected JSON type")


def _be(feature: inference_pb2.Feature, wanted: str, name: str) -> None:
    kind = feature.WhichOneof("kind")
    if kind is not None and kind != wanted:
        raise Malformed(f"Unexpected element type in feature: {name} expecting type: {_KINDS[kind]}")
