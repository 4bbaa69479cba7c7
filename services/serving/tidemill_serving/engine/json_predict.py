"""The JSON of Predict: rows (`instances`, `predictions`) and columns (`inputs`, `outputs`)."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any

import numpy as np

from tidemill_serving.engine.json_document import shown
from tidemill_serving.engine.json_tensors import is_base64, to_tensor
from tidemill_serving.engine.servable import Array
from tidemill_serving.engine.status import Code, StatusError, invalid_argument

INSTANCES, INPUTS = "instances", "inputs"


class Format(Enum):
    """How a request lays its tensors, and so its answer."""

    ROW = "predictions"
    COLUMNAR = "outputs"


def signature_name(document: Mapping[str, Any]) -> str:
    """The signature that a request names; empty if none.

    Raises:
        StatusError: INVALID_ARGUMENT: the name is not a string.
    """
    name = document.get("signature_name", "")
    if not isinstance(name, str):
        raise invalid_argument(
            f"JSON Value: {shown(document)} not formatted correctly."
            " 'signature_name' key must be a string value."
        )
    return name


def read_tensors(document: Mapping[str, Any], dtypes: Mapping[str, int]) -> tuple[dict[str, Array], Format]:
    """The input tensors of a request.

    dtypes: the signature's inputs, alias to DataType; at least one.

    Raises:
        StatusError: with the server's code and words.
    """
    if INSTANCES in document:
        if INPUTS in document:
            raise _format_error(
                document,
                "Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist ",
            )
        instances = document[INSTANCES]
        if not isinstance(instances, list):
            raise _format_error(document, "Excepting 'instances' to be an list/array")
        if not instances:
            raise _format_error(document, "No values in 'instances' array")
        return _rows(instances, dtypes), Format.ROW
    if INPUTS in document:
        return _columns(document[INPUTS], dtypes), Format.COLUMNAR
    raise invalid_argument("Missing 'inputs' or 'instances' key")


def _rows(instances: list[Any], dtypes: Mapping[str, int]) -> dict[str, Array]:
    first = instances[0]
    if not isinstance(first, dict) and len(dtypes) > 1:
        raise invalid_argument(
            "instances is a plain list, but expecting list of objects as multiple"
            " input tensors required as per tensorinfo_map"
        )
    if _is_object(first):
        return _object_rows(instances, dtypes)
    (alias,) = list(dtypes)[:1]
    try:
        return {alias: to_tensor(instances, dtypes[alias])}
    except StatusError:
        pass  # as a whole it does not fit; the elements one by one say which does not, and why
    rows: list[Array] = []
    for index, element in enumerate(instances):
        if _is_object(element):
            raise invalid_argument(f"Expecting value/list but got object at item {index} of input list")
        try:
            rows.append(_like(rows[:1], to_tensor(element, dtypes[alias])))
        except StatusError as error:
            raise _element_error(index, "", error) from error
    return {alias: np.stack(rows)}


def _object_rows(instances: list[Any], dtypes: Mapping[str, int]) -> dict[str, Array]:
    rows: dict[str, list[Array]] = {alias: [] for alias in dtypes}
    for index, element in enumerate(instances):
        if not _is_object(element):
            raise invalid_argument(f"Expecting object but got list at item {index} of input list")
        for alias, value in element.items():
            try:
                if alias not in dtypes:
                    raise invalid_argument(f"JSON object: does not have named input: {alias}")
                rows[alias].append(_like(rows[alias][:1], to_tensor(value, dtypes[alias])))
            except StatusError as error:
                raise _element_error(index, f" key: {alias}", error) from error
        if element.keys() != dtypes.keys():
            raise invalid_argument(
                f"Failed to process element: {index} of 'instances' list. JSON object: {shown(element)}"
                f" keys must be equal to: {','.join(sorted(dtypes))}"
            )
    return {alias: np.stack(each) for alias, each in rows.items()}


def _columns(value: Any, dtypes: Mapping[str, int]) -> dict[str, Array]:
    if not _is_object(value):
        if len(dtypes) > 1:
            raise invalid_argument(
                "inputs is a plain value/list, but expecting an object as multiple"
                " input tensors required as per tensorinfo_map"
            )
        (alias,) = dtypes
        return {alias: to_tensor(value, dtypes[alias])}
    tensors: dict[str, Array] = {}
    for alias, dtype in dtypes.items():
        if alias not in value:
            raise invalid_argument(f"Missing named input: {alias} in 'inputs' object.")
        tensors[alias] = to_tensor(value[alias], dtype)
    return tensors


def _is_object(value: Any) -> bool:
    return isinstance(value, dict) and not is_base64(value)


def _like(first: list[Array], tensor: Array) -> Array:
    """The tensor, if it has the shape of the first row's."""
    if first and first[0].size != tensor.size:
        raise invalid_argument(f"Expecting tensor size: {first[0].size} but got: {tensor.size}")
    if first and first[0].shape != tensor.shape:
        raise invalid_argument(f"Expecting shape {_shape(first[0])} but got: {_shape(tensor)}")
    return tensor


def _shape(tensor: Array) -> str:
    return "[" + ",".join(map(str, tensor.shape)) + "]"


def _element_error(index: int, key: str, error: StatusError) -> StatusError:
    return StatusError(
        Code.INVALID_ARGUMENT,
        f"Failed to process element: {index}{key} of 'instances' list."
        f" Error: {error.code.name}: {error.message}",
    )


def _format_error(document: Mapping[str, Any], said: str) -> StatusError:
    return invalid_argument(f"JSON Value: {shown(document)} {said}")
