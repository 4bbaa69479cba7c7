"""A PredictRequest as bytes, its rows copied once.

protobuf itself writes all but the lengths around a tensor's content: a message that goes through its objects
copies the rows three times. A test holds the bytes against protobuf's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from google.protobuf.wrappers_pb2 import Int64Value

from tidemill_gateway.wire import predict_pb2, tensor_pb2

KNOWN_MAX = 1024
"""Heads of messages and of tensors that are kept ready."""
_INPUTS, _NAME, _TENSOR, _CONTENT = b"\x12", b"\x0a", b"\x12", b"\x22"
"""Tags of PredictRequest.inputs, of an entry's key and value, of TensorProto.tensor_content."""


@lru_cache(maxsize=KNOWN_MAX)
def head(model: str, version: int, signature: str, output_filter: tuple[str, ...]) -> bytes:
    """All but the inputs, which may follow in any number."""
    spec = predict_pb2.ModelSpec(name=model, version=Int64Value(value=version), signature_name=signature)
    return predict_pb2.PredictRequest(model_spec=spec, output_filter=output_filter).SerializeToString()


def numbers(name: str, dtype: int, sizes: tuple[int, ...], content: bytes) -> Sequence[bytes]:
    """An input whose values lie in memory as tensor_content has them: row-major, little-endian."""
    if not content:
        return (tensor(name, tensor_pb2.TensorProto.FromString(_tensor_head(dtype, sizes))),)
    key, start = _key(name), _tensor_head(dtype, sizes) + _CONTENT + varint(len(content))
    length = len(start) + len(content)
    value = _TENSOR + varint(length) + start
    return (_INPUTS + varint(len(key) + len(value) + len(content)) + key + value, content)


def tensor(name: str, value: tensor_pb2.TensorProto) -> bytes:
    """An input of any kind."""
    return predict_pb2.PredictRequest(inputs={name: value}).SerializeToString()


@lru_cache(maxsize=KNOWN_MAX)
def _tensor_head(dtype: int, sizes: tuple[int, ...]) -> bytes:
    shape = tensor_pb2.TensorShapeProto(dim=[tensor_pb2.TensorShapeProto.Dim(size=size) for size in sizes])
    return tensor_pb2.TensorProto(dtype=dtype, tensor_shape=shape).SerializeToString()  # type: ignore[arg-type]


def _key(name: str) -> bytes:
    data = name.encode()
    return _NAME + varint(len(data)) + data


def varint(value: int) -> bytes:
    """A number as protobuf writes lengths and tags."""
    parts = bytearray()
    while value >= 0x80:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)
