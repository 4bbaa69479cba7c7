"""TensorFlow Serving's REST predict: bodies in, bodies out."""

from __future__ import annotations

import base64
import json
import re
from typing import Any

import numpy as np
import orjson
from tidemill_contracts.errors import Malformed

from tidemill_gateway.dialects.fast_rows import read_fast_rows
from tidemill_gateway.dialects.json_documents import HEAVY_BYTES, parse, signature_name
from tidemill_gateway.dialects.json_values import read_column, read_tensor
from tidemill_gateway.plane.calls import Rows
from tidemill_gateway.plane.lanes import Answer
from tidemill_gateway.plane.signatures import DEFAULT_SIGNATURE, Signature
from tidemill_gateway.plane.tensors import Array
from tidemill_gateway.plane.versions import Resolved

_FIRST_KEY = re.compile(rb'\s*\{\s*"instances"\s*:')


class PredictCall:
    """A predict request. Its text is parsed no earlier, and no more often, than it must be."""

    output_filter: tuple[str, ...] = ()

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._document: dict[str, Any] | None = None
        self.columnar = False
        self.heavy = len(body) > HEAVY_BYTES
        self.signature_name = DEFAULT_SIGNATURE
        if not _spells_only_instances(body):
            self._read_names()

    def rows(self, signature: Signature) -> Rows:
        """The rows of ``instances`` or ``inputs``; raises as calls.Call.rows says."""
        if self._document is None:
            fast = read_fast_rows(self._body, signature) if signature.batchable else None
            if fast is not None:
                return Rows((fast[0],), fast[1])
            self._read_names()
        assert self._document is not None  # noqa: S101  (for the type checker; read above)
        if "instances" in self._document:
            return _read_instances(self._document["instances"], signature)
        return _read_inputs(self._document["inputs"], signature)

    def render(self, resolved: Resolved, answer: Answer) -> bytes:
        """The body of the answer; raises as `render` does."""
        return render(answer, columnar=self.columnar)

    def _read_names(self) -> None:
        document = parse(self._body)
        if "instances" in document and "inputs" in document:
            raise Malformed("Request has both 'instances' and 'inputs': give one of them")
        if "instances" not in document and "inputs" not in document:
            raise Malformed("Missing 'inputs' or 'instances' key")
        self.columnar = "inputs" in document
        self.signature_name = signature_name(document)
        self._document = document


def _spells_only_instances(body: bytes) -> bool:
    """Whether a body can do without being parsed first."""
    start = _FIRST_KEY.match(body)
    if start is not None and body.find(b'"', start.end()) < 0:
        return True  # there is no second text in it: one look instead of three
    return b"instances" in body and b"signature_name" not in body and b"\\" not in body


def _read_instances(instances: Any, signature: Signature) -> Rows:
    if not isinstance(instances, list) or not instances:
        raise Malformed("'instances' must be a list with at least one instance")
    names = [spec.name for spec in signature.inputs]
    if not all(spec.keeps_rows for spec in signature.inputs) or not names:
        raise Malformed("the model's inputs have no row dimension: use 'inputs' instead of 'instances'")
    named = [_is_named(instance) for instance in instances]
    if any(named):
        if not all(named):
            raise Malformed("'instances' must all be objects, or none of them")
        wanted = set(names)
        for index, instance in enumerate(instances):
            if instance.keys() != wanted:
                found = sorted(instance)
                raise Malformed(f"instances[{index}] has the keys {found}, but the inputs are {names}")
        columns = [[instance[name] for instance in instances] for name in names]
    elif len(names) == 1:
        columns = [instances]
    else:
        raise Malformed(f"the model has several inputs: every instance must be an object with {names}")
    read = tuple(
        read_column(column, spec, "instances") for column, spec in zip(columns, signature.inputs, strict=True)
    )
    return Rows(read, len(instances), signature.batchable)


def _is_named(instance: Any) -> bool:
    """Whether it is an object of inputs, rather than bytes spelled ``{"b64": ...}``."""
    return isinstance(instance, dict) and instance.keys() != {"b64"}


def _read_inputs(inputs: Any, signature: Signature) -> Rows:
    names = [spec.name for spec in signature.inputs]
    if _is_named(inputs):
        missing = [name for name in names if name not in inputs]
        if missing:
            raise Malformed(f"'inputs' lacks {missing}; the model's inputs are {names}")
        values = [inputs[name] for name in names]
    elif len(names) == 1:
        values = [inputs]
    else:
        raise Malformed(f"the model has several inputs: 'inputs' must be an object with {names}")
    pairs = list(zip(values, signature.inputs, strict=True))
    lengths = {len(value) if isinstance(value, list) else None for value in values}
    if signature.batchable and len(lengths) == 1 and None not in lengths and lengths != {0}:
        columns = tuple(read_column(value, spec, "inputs") for value, spec in pairs)
        return Rows(columns, lengths.pop() or 0)
    return Rows(tuple(read_tensor(value, spec, "inputs") for value, spec in pairs), 1, batchable=False)


def render(answer: Answer, *, columnar: bool) -> bytes:
    """The body of an answer: ``predictions`` by row, or ``outputs`` by column.

    Raises:
        Malformed: row form was asked for, and the model does not keep rows.
    """
    value: Any
    if len(answer.outputs) == 1:
        (only,) = answer.outputs.values()
        if only.ndim and only.dtype == np.float32 and only.flags.c_contiguous:
            return _dump({"outputs" if columnar else "predictions": only})
    outputs = {name: _jsonable(name, out) for name, out in answer.outputs.items()}
    if columnar:
        value = next(iter(outputs.values())) if len(outputs) == 1 else outputs
        return _dump({"outputs": value})
    lengths = {out.shape[0] if out.shape else None for out in answer.outputs.values()}
    if len(lengths) != 1 or None in lengths:
        raise Malformed("the outputs have no common number of rows: use 'inputs' instead of 'instances'")
    if len(outputs) == 1:
        value = next(iter(outputs.values()))
    else:
        rows = range(lengths.pop() or 0)
        value = [{name: out[row] for name, out in outputs.items()} for row in rows]
    return _dump({"predictions": value})


def _jsonable(name: str, out: Array) -> Any:
    """Numbers stay an array; bytes become text, or Base64 where the output's name ends in ``_bytes``."""
    if out.dtype != object:
        return np.ascontiguousarray(out) if out.dtype != np.float16 else out.astype(np.float32)
    as_base64 = name.endswith("_bytes")
    flat = np.empty(out.size, dtype=object)
    flat[:] = [_text(item, as_base64=as_base64) for item in out.reshape(-1)]
    return flat.reshape(out.shape).tolist()


def _text(item: bytes, *, as_base64: bool) -> Any:
    if not as_base64:
        try:
            return item.decode("utf-8")
        except UnicodeDecodeError:
            pass  # no JSON text can say these bytes; Base64 can
    return {"b64": base64.b64encode(item).decode("ascii")}


def _dump(document: dict[str, Any]) -> bytes:
    body = orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)
    if b"null" not in body:
        return body
    # orjson writes null for NaN and infinities; TensorFlow Serving writes them bare, and so do we.
    return json.dumps(document, default=_listed, separators=(",", ":")).encode()


def _listed(value: Any) -> Any:
    """Arrays and their scalars as Python numbers; float32 by its own shortest spelling, not a double's."""
    if value.dtype == np.float32:
        flat = np.empty(value.size, dtype=object)
        flat[:] = [float(str(item)) for item in value.reshape(-1)]
        return flat.reshape(value.shape).tolist()
    return value.tolist()
