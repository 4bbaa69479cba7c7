"""Makes a SavedModel's bytes depend on the model alone.

TensorFlow numbers functions and captured variables by counters of the process, and adds a random fingerprint:
the same model, exported by a process that has done something else before, would have another digest.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tensorflow.core.protobuf import saved_model_pb2

_COUNTED = re.compile(r"^(.*[_-])(\d+)((?:___redundant_placeholder\d+)?)$", re.DOTALL)
_GRADIENT_OP = re.compile(r"^(Stateful)?PartitionedCall-\d+$")
_ARGUMENT_NAME = "_user_specified_name"
_FINGERPRINT = "fingerprint.pb"


def renumber_functions(folder: Path) -> None:
    """Number the functions of the SavedModel in the folder from 0, in the order they were made."""
    path = folder / "saved_model.pb"
    model = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    for graph in model.meta_graphs:
        _rename(graph, _new_names(graph))
        _forget_captures(graph)
        graph.graph_def.library.function.sort(key=lambda function: function.signature.name)
    path.write_bytes(model.SerializeToString(deterministic=True))
    (folder / _FINGERPRINT).unlink(missing_ok=True)


def _new_names(graph: Any) -> dict[str, str]:
    """For every name that carries a counter's value, the same name with a number that counts from 0."""
    texts = {text for _, _, text in _texts(graph)}
    functions = {function.signature.name for function in graph.graph_def.library.function}
    counted = functions | {text for text in texts if _GRADIENT_OP.match(text)}
    found = {name: match for name in counted | texts if (match := _COUNTED.match(name))}
    of_functions = {int(match[2]) for name, match in found.items() if name in counted}
    numbers = {old: str(new) for new, old in enumerate(sorted(of_functions))}
    return {
        name: f"{match[1]}{numbers[int(match[2])]}{match[3]}"
        for name, match in found.items()
        if name in counted or (match[3] and int(match[2]) in numbers)
    }


def _rename(message: Any, names: dict[str, str]) -> None:
    for owner, field, text in list(_texts(message)):
        if text in names:
            _replace(owner, field, text, names[text])
    functions = message.object_graph_def.concrete_functions
    for name in [name for name in functions if name in names]:
        functions[names[name]].CopyFrom(functions[name])
        del functions[name]


def _forget_captures(graph: Any) -> None:
    """Remove the numbers that stand where an argument's name would, for variables have none."""
    for function in graph.graph_def.library.function:
        holders = [*function.arg_attr.values(), *function.node_def]
        for holder in holders:
            if _ARGUMENT_NAME in holder.attr and holder.attr[_ARGUMENT_NAME].s.isdigit():
                del holder.attr[_ARGUMENT_NAME]


def _texts(message: Any) -> Iterator[tuple[Any, Any, str]]:
    """Every text in the message, with the message and field that hold it; keys of maps are left out."""
    for field, value in message.ListFields():
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            if field.message_type.fields_by_name["value"].message_type is not None:
                for each in value.values():
                    yield from _texts(each)
        elif field.message_type is not None:
            for each in value if field.is_repeated else [value]:
                yield from _texts(each)
        elif field.type in (field.TYPE_STRING, field.TYPE_BYTES):
            for text in value if field.is_repeated else [value]:
                known = text if isinstance(text, str) else text.decode("utf-8", "replace")
                yield message, field, known


def _replace(owner: Any, field: Any, old: str, new: str) -> None:
    binary = field.type == field.TYPE_BYTES
    before, after = (old.encode(), new.encode()) if binary else (old, new)
    if field.is_repeated:
        values = getattr(owner, field.name)
        for index, value in enumerate(values):
            if value == before:
                values[index] = after
    elif getattr(owner, field.name) == before:
        setattr(owner, field.name, after)
