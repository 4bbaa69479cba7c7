"""Predict: inputs by name to outputs by name, whatever the protocol that asked."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from time import perf_counter
from typing import Any

from tensorflow_serving.apis import predict_pb2

from tidemill_serving.engine.servable import Array, Resolver, Servable
from tidemill_serving.engine.status import Code, StatusError, failed_precondition, invalid_argument
from tidemill_serving.engine.tensors import fill_proto, to_array

DEFAULT_SIGNATURE = "serving_default"
METHODS = {f"tensorflow/serving/{method}" for method in ("predict", "classify", "regress")}


def predict(
    resolver: Resolver, request: predict_pb2.PredictRequest, *, deadline_s: float | None = None
) -> predict_pb2.PredictResponse:
    """Answer a request; the response names the version and the signature that answered.

    Raises:
        StatusError: with the server's code and words.
    """
    with resolver.handle(request.model_spec) as handle:
        signature_name = request.model_spec.signature_name or DEFAULT_SIGNATURE
        signature = handle.servable.signatures.get(signature_name)
        if signature is None:
            raise failed_precondition(f'Serving signature key "{signature_name}" not found.')
        check_method(signature)
        inputs = _inputs(signature, request.inputs)
        aliases = _wanted(signature, request.output_filter)
        started_s = perf_counter()
        outputs = handle.servable.run(signature_name, inputs, aliases, deadline_s=deadline_s)
        resolver.observe_runtime(request.model_spec.name, "Predict", perf_counter() - started_s)
        response = predict_pb2.PredictResponse()
        response.model_spec.name = request.model_spec.name
        response.model_spec.signature_name = signature_name
        response.model_spec.version.value = handle.version
    for alias, output in zip(aliases, outputs, strict=True):
        fill_proto(response.outputs[alias], output)
    return response


def run_all(
    servable: Servable, signature_name: str, inputs: Mapping[str, Array], *, deadline_s: float | None = None
) -> dict[str, Array]:
    """Every output of a signature by alias; raises as `Servable.run` does."""
    aliases = sorted(servable.signatures[signature_name].outputs)
    outputs = servable.run(signature_name, inputs, aliases, deadline_s=deadline_s)
    return dict(zip(aliases, outputs, strict=True))


def check_method(signature: Any) -> None:
    """Return if Predict may run the signature.

    Raises:
        StatusError: INTERNAL, with the server's words.
    """
    if signature.method_name not in METHODS:
        expected = ", ".join(f"tensorflow/serving/{method}" for method in ("predict", "classify", "regress"))
        raise StatusError(
            Code.INTERNAL,
            f"Expected prediction signature method_name to be one of {{{expected}}}."
            f" Was: {signature.method_name}",
        )


def _inputs(signature: Any, given: Any) -> dict[str, Array]:
    """An array for every input of the signature, from the request or from the signature's defaults."""
    too_few = len(given) < len(signature.inputs) and not signature.defaults
    if len(given) > len(signature.inputs) or too_few:
        raise invalid_argument(_size_mismatch(sorted(given), sorted(signature.inputs)))
    arrays: dict[str, Array] = {}
    for alias in sorted(signature.inputs):
        if alias in given:
            arrays[alias] = to_array(given[alias], alias)
        elif alias in signature.defaults:
            arrays[alias] = to_array(signature.defaults[alias], alias)
        else:
            raise invalid_argument(
                f"Signature input alias: {alias}(feed name: {signature.inputs[alias].name}) not found in"
                " request and no default value provided. Inputs expected to be in the request"
                f" {{{_joined(given)}}},"
                f" or default input alias set: {_joined(signature.defaults)}"
            )
    used = sorted(alias for alias in given if alias in arrays)
    if len(used) != len(given):
        raise invalid_argument(
            f"Inputs contains invalid name. Used request inputs: {_joined(used)},"
            f" request input: {_joined(given)}"
        )
    return arrays


def _size_mismatch(given: Sequence[str], expected: Sequence[str]) -> str:
    extra = [alias for alias in given if alias not in expected]
    missing = [alias for alias in expected if alias not in given]
    return (
        f"input size does not match signature: {len(given)}!={len(expected)}"
        f" len({{{_joined(given)}}}) != len({{{_joined(expected)}}})."
        f" Sent extra: {{{_joined(extra)}}}. Missing but required: {{{_joined(missing)}}}."
    )


def _wanted(signature: Any, output_filter: Collection[str]) -> list[str]:
    if not output_filter:
        return sorted(signature.outputs)
    seen: list[str] = []
    for alias in output_filter:
        if alias not in signature.outputs:
            raise invalid_argument(
                f"output tensor alias not found in signature: {alias}"
                f" Outputs expected to be in the set {{{_joined(signature.outputs)}}}."
            )
        if alias in seen:
            raise invalid_argument(f"duplicate output tensor alias: {alias}")
        seen.append(alias)
    return seen


def _joined(names: Iterable[str]) -> str:
    return ",".join(sorted(names))
