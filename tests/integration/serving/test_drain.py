"""SIGTERM under gRPC load: what was begun is answered, what comes too late was never begun."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import Any

import grpc
import pytest
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc


@pytest.fixture
def recording_model(tmp_path: Path) -> tuple[Path, Path]:
    """A base path and a file: the model writes a line to the file for every run."""
    record = tmp_path / "runs"
    record.touch()

    class Recorder(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
        def double(self, x: Any) -> dict[str, Any]:
            tf.print("run", output_stream=f"file://{record}")
            return {"y": 2 * x}

    module = Recorder()
    tf.saved_model.save(module, str(tmp_path / "model" / "1"), signatures={"serving_default": module.double})
    record.write_text("")
    return tmp_path / "model", record


def test_sigterm_under_grpc_load_fails_no_call_that_was_begun(start_engine, recording_model):
    base, record = recording_model
    engine = start_engine("--model_name=recorder", f"--model_base_path={base}", "--enable_model_warmup=false")
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "recorder"
    request.inputs["x"].CopyFrom(tf.make_tensor_proto([1.0], tf.float32))
    answered, refused = [0] * 8, []

    def call(number: int) -> None:
        with grpc.insecure_channel(engine.target, [("grpc.use_local_subchannel_pool", 1)]) as channel:
            stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
            while True:
                try:
                    stub.Predict(request, timeout=60)
                except grpc.RpcError as error:
                    refused.append(error.code())
                    return
                answered[number] += 1

    threads = [threading.Thread(target=call, args=(number,)) for number in range(len(answered))]
    for thread in threads:
        thread.start()
    while sum(answered) < 200:
        assert threads[0].is_alive(), refused

    code = engine.stop(signal.SIGTERM)
    for thread in threads:
        thread.join(120)

    assert code == 0
    assert set(refused) == {grpc.StatusCode.UNAVAILABLE}, "any other word would be a failed request"
    assert record.read_text().count("run") == sum(answered), "a call was begun and its caller not answered"
