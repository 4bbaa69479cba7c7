"""Runs a TensorFlow Lite file, ``model.tflite``, behind the same face as a SavedModel."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2

from tidemill_serving.engine.deadlines import exceeded, left_s
from tidemill_serving.engine.predict import DEFAULT_SIGNATURE
from tidemill_serving.engine.servable import Array, Arrays
from tidemill_serving.engine.status import StatusError, invalid_argument

FILE = "model.tflite"
PREDICT = "tensorflow/serving/predict"


class TfliteModel:
    """One interpreter, used by one call at a time: it keeps its tensors in itself."""

    def __init__(self, path: Path) -> None:
        """Load ``model.tflite`` of a version's folder.

        Raises:
            StatusError: INVALID_ARGUMENT: it is no TensorFlow Lite model.
        """
        try:
            self._interpreter = tf.lite.Interpreter(model_path=str(path / FILE))
            self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise invalid_argument(f"Failed to load TfLite model {path / FILE}: {error}") from error
        self._lock = threading.Lock()
        self._runners = {
            name: self._interpreter.get_signature_runner(name)
            for name in self._interpreter.get_signature_list()
        }
        self._signatures = {name: _of_runner(runner) for name, runner in self._runners.items()}
        if not self._signatures:
            self._signatures = {DEFAULT_SIGNATURE: _of_interpreter(self._interpreter)}

    @property
    def signatures(self) -> Mapping[str, meta_graph_pb2.SignatureDef]:
        return self._signatures

    def run(
        self, signature_name: str, inputs: Arrays, outputs: Sequence[str], *, deadline_s: float | None = None
    ) -> list[Array]:
        """Outputs by alias, in order; see `Servable.run`. What waits past its deadline does not run."""
        left = left_s(deadline_s)
        if not self._lock.acquire(timeout=-1 if left is None else left):
            raise exceeded()
        try:
            if signature_name in self._runners:
                found = self._runners[signature_name](**inputs)
                return [np.array(found[alias]) for alias in outputs]
            return self._run_bare(inputs, outputs)
        except StatusError:
            raise
        except (ValueError, RuntimeError, TypeError) as error:
            raise invalid_argument(str(error)) from error
        finally:
            self._lock.release()

    def _run_bare(self, inputs: Arrays, outputs: Sequence[str]) -> list[Array]:
        """A model without signatures is fed by its tensors' names."""
        interpreter = self._interpreter
        given = {detail["name"]: detail for detail in interpreter.get_input_details()}
        for name, array in inputs.items():
            interpreter.resize_tensor_input(given[name]["index"], array.shape)
        interpreter.allocate_tensors()
        for name, array in inputs.items():
            interpreter.set_tensor(given[name]["index"], array)
        interpreter.invoke()
        wanted = {detail["name"]: detail["index"] for detail in interpreter.get_output_details()}
        return [np.array(interpreter.get_tensor(wanted[name])) for name in outputs]

    def close(self) -> None:
        self._runners.clear()
        self._interpreter = None


def _of_runner(runner: Any) -> meta_graph_pb2.SignatureDef:
    signature = meta_graph_pb2.SignatureDef(method_name=PREDICT)
    for alias, detail in runner.get_input_details().items():
        _describe(signature.inputs[alias], detail)
    for alias, detail in runner.get_output_details().items():
        _describe(signature.outputs[alias], detail)
    return signature


def _of_interpreter(interpreter: Any) -> meta_graph_pb2.SignatureDef:
    signature = meta_graph_pb2.SignatureDef(method_name=PREDICT)
    for detail in interpreter.get_input_details():
        _describe(signature.inputs[detail["name"]], detail)
    for detail in interpreter.get_output_details():
        _describe(signature.outputs[detail["name"]], detail)
    return signature


def _describe(info: Any, detail: Mapping[str, Any]) -> None:
    info.name = detail["name"]
    info.dtype = tf.dtypes.as_dtype(detail["dtype"]).as_datatype_enum
    for size in detail.get("shape_signature", detail["shape"]):
        info.tensor_shape.dim.add().size = int(size)
