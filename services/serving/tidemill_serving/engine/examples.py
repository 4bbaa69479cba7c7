"""Examples: the features of Classify, Regress and MultiInference, from protos or from JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from tensorflow.core.example import example_pb2, feature_pb2

from tidemill_serving.engine.json_document import shown, text_bytes, type_name
from tidemill_serving.engine.json_tensors import decode_base64, is_base64
from tidemill_serving.engine.servable import Array
from tidemill_serving.engine.status import invalid_argument

CONTEXT, EXAMPLES = "context", "examples"
_KINDS = {"bytes_list": "bytes", "float_list": "float", "int64_list": "int64"}


def serialized_examples(given: Any) -> Array:
    """The examples of an ``Input`` proto, each serialised after the context that they share: object[n].

    Raises:
        StatusError: INVALID_ARGUMENT: there is none.
    """
    context = b""
    listed: Any = ()
    kind = given.WhichOneof("kind")
    if kind == "example_list":
        listed = given.example_list.examples
    elif kind == "example_list_with_context":
        listed = given.example_list_with_context.examples
        context = given.example_list_with_context.context.SerializeToString()
    if not listed:
        raise invalid_argument("Input is empty.")
    array = np.empty(len(listed), object)
    array[:] = [context + example.SerializeToString() for example in listed]
    return array


def fill_input(document: Mapping[str, Any], into: Any) -> None:
    """Fill an ``Input`` proto from a JSON request with ``examples`` and perhaps ``context``.

    Raises:
        StatusError: INVALID_ARGUMENT, with the server's words.
    """
    has_context = CONTEXT in document
    if has_context:
        into.example_list_with_context.context.CopyFrom(_example(document[CONTEXT]))
    if EXAMPLES not in document:
        raise invalid_argument(
            f"JSON Value: {shown(document)} When method is classify, key '{EXAMPLES}'"
            " is expected and was not found"
        )
    listed = document[EXAMPLES]
    if not isinstance(listed, list):
        raise invalid_argument(
            f"JSON Value: {shown(document)} Expecting '{EXAMPLES}' value to be an list/array"
        )
    if not listed:
        raise invalid_argument(f"JSON Value: {shown(document)} '{EXAMPLES}' value is an empty array")
    target = into.example_list_with_context if has_context else into.example_list
    target.examples.extend(_example(value) for value in listed)


def _example(value: Any) -> example_pb2.Example:
    if not isinstance(value, dict):
        raise invalid_argument(f"Example must be JSON object but got JSON {type_name(value)}")
    example = example_pb2.Example()
    for name, content in value.items():
        feature = example.features.feature[name]
        for item in content if isinstance(content, list) else [content]:
            _add(item, name, feature)
    return example


def _add(value: Any, name: str, feature: feature_pb2.Feature) -> None:
    """Decimals are floats, whole numbers and booleans int64, strings bytes; a feature has one kind."""
    if isinstance(value, bool | int):
        _of_kind(feature, "int64_list", name)
        if value > 2**63 - 1 or value < -(2**63):
            raise invalid_argument(f"Feature: {name} has uint64 element. Only int64 is supported.")
        feature.int64_list.value.append(int(value))
    elif isinstance(value, float):
        _of_kind(feature, "float_list", name)
        feature.float_list.value.append(float(np.float32(value)))
    elif isinstance(value, str):
        _of_kind(feature, "bytes_list", name)
        feature.bytes_list.value.append(text_bytes(value))
    elif is_base64(value):
        _of_kind(feature, "bytes_list", name)
        feature.bytes_list.value.append(decode_base64(value))
    else:
        raise invalid_argument(f"Feature: {name} has element with unexpected JSON type: {type_name(value)}")


def _of_kind(feature: feature_pb2.Feature, wanted: str, name: str) -> None:
    kind = feature.WhichOneof("kind")
    if kind not in {None, wanted}:
        raise invalid_argument(
            f"Unexpected element type in feature: {name} expecting type: {_KINDS[str(kind)]}"
        )
