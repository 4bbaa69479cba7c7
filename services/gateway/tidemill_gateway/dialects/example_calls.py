"""Classify and Regress in any protocol: examples in, classes with scores or values out.

A model takes examples as serialised text and gives tensors, so both are predictions to the data plane: they
share batches like all others.
"""

from __future__ import annotations

import numpy as np
from tidemill_contracts.errors import Malformed

from tidemill_gateway.plane.calls import Rows
from tidemill_gateway.plane.lanes import Answer
from tidemill_gateway.plane.signatures import Signature
from tidemill_gateway.plane.tensors import Array, Column
from tidemill_gateway.wire import inference_pb2, tensor_pb2

CLASSIFY, REGRESS = "tensorflow/serving/classify", "tensorflow/serving/regress"
INPUTS, CLASSES, SCORES, OUTPUTS = "inputs", "classes", "scores", "outputs"
_OUTPUTS = {CLASSIFY: (CLASSES, SCORES), REGRESS: (OUTPUTS,)}
Classified = list[list[tuple[str, float]]]


class ExamplesCall:
    """Examples for a signature of one method, CLASSIFY or REGRESS."""

    heavy = False

    def __init__(self, method: str, signature_name: str, given: inference_pb2.Input) -> None:
        self._method = method
        self._examples = serialized_examples(given)
        self.signature_name = signature_name
        self.output_filter: tuple[str, ...] = ()

    def rows(self, signature: Signature) -> Rows:
        """A row per example; raises as calls.Call.rows says."""
        if signature.method != self._method:
            raise Malformed(
                f"Expected signature method_name to be {self._method}. Was: {signature.method or 'none'}"
            )
        if len(signature.inputs) != 1 or signature.inputs[0].name != INPUTS:
            raise Malformed(f"the signature must have one input, named {INPUTS!r}")
        if signature.inputs[0].dtype != tensor_pb2.DT_STRING:
            raise Malformed(f"the signature takes {signature.inputs[0].type_name}, not serialised examples")
        named = {spec.name for spec in signature.outputs}
        self.output_filter = tuple(name for name in _OUTPUTS[self._method] if name in named)
        if not self.output_filter:
            raise Malformed(f"the signature gives none of {_OUTPUTS[self._method]}")
        count = len(self._examples)
        if signature.batchable:
            return Rows((Column(tensor_pb2.DT_STRING, (), self._examples),), count)
        return Rows((Column(tensor_pb2.DT_STRING, (count,), self._examples),), 1, batchable=False)

    def classes(self, answer: Answer) -> Classified:
        """Label and score of every class, example by example; raises Malformed if the outputs are no such."""
        found = [self._column(answer, name, rank=2) for name in self.output_filter]
        if len({array.shape for array in found}) != 1:
            raise Malformed("Tensors class and score should match in dim_size(1)")
        empty = np.zeros(found[0].shape)
        scores = answer.outputs.get(SCORES, empty).tolist()
        labels = answer.outputs.get(CLASSES)
        texts = [[""] * len(row) for row in scores] if labels is None else labels.tolist()
        return [
            [(_text(label), score) for label, score in zip(row_labels, row_scores, strict=True)]
            for row_labels, row_scores in zip(texts, scores, strict=True)
        ]

    def values(self, answer: Answer) -> list[float]:
        """The value of every example; raises Malformed if the output is no such."""
        array = answer.outputs[OUTPUTS]
        if array.ndim == 2 and array.shape[1] == 1:
            array = array.reshape(-1)
        if array.ndim != 1 or len(array) != len(self._examples) or array.dtype != np.float32:
            raise Malformed(f"Expected an output of DT_FLOAT, [{len(self._examples)}], got {array.shape}")
        return list(array.tolist())

    def _column(self, answer: Answer, name: str, *, rank: int) -> Array:
        array = answer.outputs[name]
        if array.ndim != rank or len(array) != len(self._examples):
            raise Malformed(f"Expected Tensor shape: [batch_size num_classes] but got {list(array.shape)}")
        if array.dtype != (object if name == CLASSES else np.float32):
            raise Malformed(f"Expected {name} Tensor of another type. Got: {array.dtype}")
        return array


def serialized_examples(given: inference_pb2.Input) -> list[bytes]:
    """Each example, after the context that all share: protobuf merges what is concatenated.

    Raises:
        Malformed: there is none.
    """
    listed, context = given.example_list.examples, b""
    if given.WhichOneof("kind") == "example_list_with_context":
        listed = given.example_list_with_context.examples
        context = given.example_list_with_context.context.SerializeToString()
    if not listed:
        raise Malformed("Input is empty.")
    return [context + example.SerializeToString() for example in listed]


def _text(label: bytes | str) -> str:
    return label.decode("utf-8", "replace") if isinstance(label, bytes) else label
