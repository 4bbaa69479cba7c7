"""Classify, Regress and MultiInference: examples in, classes and values out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from tensorflow_serving.apis import classification_pb2, inference_pb2, regression_pb2

from tidemill_serving.engine.examples import serialized_examples
from tidemill_serving.engine.predict import DEFAULT_SIGNATURE
from tidemill_serving.engine.servable import Array, Held, Resolver
from tidemill_serving.engine.status import Code, StatusError, failed_precondition, invalid_argument

CLASSIFY, REGRESS = "tensorflow/serving/classify", "tensorflow/serving/regress"
INPUTS, CLASSES, SCORES, OUTPUTS = "inputs", "classes", "scores", "outputs"


def classify(
    resolver: Resolver,
    request: classification_pb2.ClassificationRequest,
    *,
    deadline_s: float | None = None,
) -> classification_pb2.ClassificationResponse:
    """Classes with scores for every example; raises StatusError with the server's code and words."""
    response = classification_pb2.ClassificationResponse()
    with resolver.handle(request.model_spec) as handle:
        name, signature = _signature(handle, request.model_spec, CLASSIFY, "classification")
        aliases = classify_outputs(signature)
        count, outputs = _run(handle, name, aliases, request.input, deadline_s)
        fill_classes(outputs, count, response.result)
        _fill_spec(response.model_spec, request.model_spec, handle)
    return response


def regress(
    resolver: Resolver, request: regression_pb2.RegressionRequest, *, deadline_s: float | None = None
) -> regression_pb2.RegressionResponse:
    """A value for every example; raises StatusError with the server's code and words."""
    response = regression_pb2.RegressionResponse()
    with resolver.handle(request.model_spec) as handle:
        name, signature = _signature(handle, request.model_spec, REGRESS, "regression")
        aliases = regress_outputs(signature)
        count, outputs = _run(handle, name, aliases, request.input, deadline_s)
        fill_values(outputs, count, response.result)
        _fill_spec(response.model_spec, request.model_spec, handle)
    return response


def multi_inference(
    resolver: Resolver, request: inference_pb2.MultiInferenceRequest, *, deadline_s: float | None = None
) -> inference_pb2.MultiInferenceResponse:
    """Several signatures of one version on the same examples; raises StatusError as the server does."""
    if not request.tasks:
        raise invalid_argument("Inference request contains no tasks")
    response = inference_pb2.MultiInferenceResponse()
    with resolver.handle(request.tasks[0].model_spec) as handle:
        planned = _plan(handle, request)
        for task, name, aliases in planned:
            count, outputs = _run(handle, name, aliases, request.input, deadline_s)
            result = response.results.add()
            if task.method_name == CLASSIFY:
                fill_classes(outputs, count, result.classification_result)
            else:
                fill_values(outputs, count, result.regression_result)
            _fill_spec(result.model_spec, task.model_spec, handle)
    return response


def _plan(handle: Held, request: Any) -> list[tuple[Any, str, list[str]]]:
    """Every task with its signature and outputs, checked before anything runs."""
    planned: list[tuple[Any, str, list[str]]] = []
    model, feeds = "", set()
    for task in request.tasks:
        if not task.model_spec.name:
            raise invalid_argument("Found ModelSpec with an empty model name.")
        model = model or task.model_spec.name
        if task.model_spec.name != model:
            raise invalid_argument(
                "All ModelSpecs in a MultiInferenceRequest must access the same model name."
            )
        name = task.model_spec.signature_name or DEFAULT_SIGNATURE
        if any(name == known for _, known, _ in planned):
            raise invalid_argument(f"Duplicate evaluation of signature: {name}")
        signature = handle.servable.signatures.get(name)
        if signature is None:
            raise invalid_argument(f"Requested signature not found in model graph: {name}")
        if task.method_name == CLASSIFY:
            aliases = classify_outputs(signature)
        elif task.method_name == REGRESS:
            aliases = regress_outputs(signature)
        else:
            raise StatusError(Code.UNIMPLEMENTED, f"Unsupported signature method_name: {task.method_name}")
        feeds.add(signature.inputs[INPUTS].name)
        if len(feeds) > 1:
            raise invalid_argument("Input tensor must be the same for all Signatures.")
        planned.append((task, name, aliases))
    return planned


def _signature(handle: Held, spec: Any, method: str, said: str) -> tuple[str, Any]:
    name = spec.signature_name or DEFAULT_SIGNATURE
    signature = handle.servable.signatures.get(name)
    if signature is None:
        raise invalid_argument(f"No signature was found with the name: {name}")
    if signature.method_name != method:
        raise invalid_argument(
            f"Expected {said} signature method_name to be {method}. Was: {signature.method_name}"
        )
    return name, signature


def classify_outputs(signature: Any) -> list[str]:
    """Which outputs of a classification signature to compute; raises StatusError if it is none."""
    _check_inputs(signature, CLASSIFY, "classification")
    if len(signature.outputs) not in {1, 2}:
        raise invalid_argument(f"Expected one or two output Tensors, found {len(signature.outputs)}")
    aliases = [alias for alias in (CLASSES, SCORES) if alias in signature.outputs]
    if not aliases:
        raise failed_precondition(
            "Expected classification signature outputs to contain at least one of"
            f' "{CLASSES}" or "{SCORES}". Signature was: {signature}'
        )
    return aliases


def regress_outputs(signature: Any) -> list[str]:
    """Which output of a regression signature to compute; raises StatusError if it is none."""
    _check_inputs(signature, REGRESS, "regression")
    if len(signature.outputs) != 1:
        raise invalid_argument("Expected one output Tensor.")
    if OUTPUTS not in signature.outputs:
        raise failed_precondition(f"No regression outputs found in SignatureDef: {signature}")
    return [OUTPUTS]


def _check_inputs(signature: Any, method: str, said: str) -> None:
    if signature.method_name != method:
        raise invalid_argument(
            f"Expected {said} signature method_name to be {method}. Was: {signature.method_name}"
        )
    if len(signature.inputs) != 1:
        raise invalid_argument("Expected one input Tensor.")
    if INPUTS not in signature.inputs:
        raise failed_precondition(f"No {said} inputs found in SignatureDef: {signature}")


def _run(
    handle: Held, name: str, aliases: list[str], given: Any, deadline_s: float | None
) -> tuple[int, dict[str, Array]]:
    examples = serialized_examples(given)
    outputs = handle.servable.run(name, {INPUTS: examples}, aliases, deadline_s=deadline_s)
    return len(examples), dict(zip(aliases, outputs, strict=True))


def fill_classes(outputs: Mapping[str, Array], count: int, result: Any) -> None:
    """Write labels and scores, example by example; raises StatusError if their shapes do not fit."""
    for alias, is_right, wanted in ((CLASSES, _is_string, "DT_STRING"), (SCORES, _is_float, "DT_FLOAT")):
        if alias not in outputs:
            continue
        array = outputs[alias]
        if array.ndim != 2:
            shape = "[" + ",".join(map(str, array.shape)) + "]"
            raise invalid_argument(f"Expected Tensor shape: [batch_size num_classes] but got {shape}")
        if not is_right(array):
            raise invalid_argument(f"Expected {alias} Tensor of {wanted}. Got: {array.dtype}")
        if len(array) != count:
            raise invalid_argument(f"Expected {alias} output batch size of {count}. Got: {len(array)}")
    widths = {array.shape[1] for array in outputs.values()}
    if len(widths) > 1:
        classes, scores = outputs[CLASSES].shape[1], outputs[SCORES].shape[1]
        raise invalid_argument(
            f"Tensors class and score should match in dim_size(1). Got {classes} vs. {scores}"
        )
    (width,) = widths
    for row in range(count):
        listed = result.classifications.add()
        for column in range(width):
            each = listed.classes.add()
            if CLASSES in outputs:
                each.label = bytes(outputs[CLASSES][row, column]).decode("utf-8", "replace")
            if SCORES in outputs:
                each.score = float(outputs[SCORES][row, column])


def fill_values(outputs: Mapping[str, Array], count: int, result: Any) -> None:
    """Write a value per example; raises StatusError if the output's shape does not fit."""
    array = outputs[OUTPUTS]
    if not (array.ndim == 1 or (array.ndim == 2 and array.shape[1] == 1)):
        shape = "[" + ",".join(map(str, array.shape)) + "]"
        raise invalid_argument(
            f"Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got {shape}"
        )
    if len(array) != count:
        raise invalid_argument(f"Input batch size did not match output batch size: {count} vs. {len(array)}")
    if not _is_float(array):
        raise invalid_argument(f"Expected output Tensor of DT_FLOAT.  Got: {array.dtype}")
    for value in array.reshape(-1).tolist():
        result.regressions.add().value = value


def _is_string(array: Array) -> bool:
    return array.dtype.hasobject


def _is_float(array: Array) -> bool:
    return array.dtype == np.float32


def _fill_spec(into: Any, asked: Any, handle: Held) -> None:
    into.name = asked.name
    into.signature_name = asked.signature_name or DEFAULT_SIGNATURE
    into.version.value = handle.version
