"""TensorFlow Serving's own Python client: ``official_client.py HOST:PORT IMAGES.npy``."""

from __future__ import annotations

import sys

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)


def main(address: str, rows_file: str) -> None:
    """Predict, ask for status and metadata; print version and predictions."""
    with grpc.insecure_channel(address) as channel:
        service = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        request = predict_pb2.PredictRequest()
        request.model_spec.name = "digits"
        (name,) = signature_inputs(service)
        request.inputs[name].CopyFrom(tf.make_tensor_proto(np.load(rows_file)))
        reply = service.Predict(request, timeout=30)
        (output,) = reply.outputs.values()
        status = get_model_status_pb2.GetModelStatusRequest()
        status.model_spec.name = "digits"
        states = model_service_pb2_grpc.ModelServiceStub(channel).GetModelStatus(status, timeout=30)
        (state,) = states.model_version_status
        sys.stdout.write(f"{reply.model_spec.version.value} {state.state}\n")
        np.savetxt(sys.stdout, tf.make_ndarray(output))
        judge(service)


def judge(service: prediction_service_pb2_grpc.PredictionServiceStub) -> None:
    """Classify and regress one example, and both at once; print what came."""
    classify, regress = classification_pb2.ClassificationRequest(), regression_pb2.RegressionRequest()
    both = inference_pb2.MultiInferenceRequest()
    for request, name in ((classify, "classify"), (regress, "regress")):
        request.model_spec.name, request.model_spec.signature_name = "digits", name
        example = request.input.example_list.examples.add()
        example.features.feature["x"].float_list.value.append(0.25)
    # TensorFlow 2 gives each signature a placeholder of its own, so several tasks would be refused.
    task = both.tasks.add(method_name="tensorflow/serving/classify")
    task.model_spec.CopyFrom(classify.model_spec)
    both.input.CopyFrom(classify.input)
    classified = service.Classify(classify, timeout=30)
    (found,) = classified.result.classifications
    sys.stdout.write(f"{classified.model_spec.version.value} {[(c.label, c.score) for c in found.classes]}\n")
    regressed = service.Regress(regress, timeout=30)
    sys.stdout.write(f"{regressed.model_spec.version.value} {regressed.result.regressions[0].value}\n")
    results = service.MultiInference(both, timeout=30).results
    sys.stdout.write(f"{[result.WhichOneof('result') for result in results]}\n")


def signature_inputs(service: prediction_service_pb2_grpc.PredictionServiceStub) -> list[str]:
    """The inputs of the default signature."""
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = "digits"
    reply = service.GetModelMetadata(request, timeout=30)
    signatures = get_model_metadata_pb2.SignatureDefMap()
    reply.metadata["signature_def"].Unpack(signatures)
    return list(signatures.signature_def["serving_default"].inputs)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
