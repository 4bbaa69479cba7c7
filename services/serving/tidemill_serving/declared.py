"""Protobuf messages declared in a table, in a descriptor pool of their own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

Declarations = Mapping[str, Mapping[str, tuple[int, str]]]
"""Message to field to number and type. A trailing * repeats; a type in capitals is a message of the table."""

_FIELD = descriptor_pb2.FieldDescriptorProto


def message_classes(package: str, declarations: Declarations) -> dict[str, Any]:
    """A class for every message of the table; other pools may hold messages of the same names."""
    file = descriptor_pb2.FileDescriptorProto(name=f"{package}.proto", package=package, syntax="proto3")
    for message_name, declared in declarations.items():
        message = file.message_type.add(name=message_name)
        for name, (number, kind) in declared.items():
            message.field.append(_field(package, name, number, kind))
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.{name}"))
        for name in declarations
    }


def _field(package: str, name: str, number: int, kind: str) -> descriptor_pb2.FieldDescriptorProto:
    base = kind.removesuffix("*")
    field = _FIELD(name=name, number=number)
    field.label = _FIELD.LABEL_REPEATED if kind.endswith("*") else _FIELD.LABEL_OPTIONAL
    if base.isupper():
        field.type = _FIELD.TYPE_MESSAGE
        field.type_name = f".{package}.{base}"
    else:
        field.type = _FIELD.Type.Value(f"TYPE_{base.upper()}")
    return field
