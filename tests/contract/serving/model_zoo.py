"""The models that the rules are shown on, made by TensorFlow as any user would make them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

v1 = tf.compat.v1
TYPES = ["float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint32", "uint64", "bool"]
TYPES += ["half", "bfloat16", "complex64"]


def half_plus(path: Path, addend: float) -> None:
    """A TensorFlow 1 model: y = x / 2 + addend, for Predict, Classify, Regress and MultiInference."""
    with tf.Graph().as_default(), v1.Session() as session:
        half = v1.get_variable("half", initializer=0.5)
        serialized = v1.placeholder(tf.string, [None], name="tf_example")
        features = v1.io.parse_example(serialized, {"x": tf.io.FixedLenFeature([1], tf.float32)})
        x = tf.identity(features["x"], name="x")
        y = tf.add(half * x, addend, name="y")
        y2 = tf.add(half * x, addend + 1, name="y2")
        labels = tf.tile(tf.constant([["low"]]), [tf.shape(y)[0], 1])
        session.run(v1.global_variables_initializer())
        build, info = v1.saved_model.build_signature_def, v1.saved_model.build_tensor_info
        examples = {"inputs": info(serialized)}
        builder = v1.saved_model.Builder(str(path))
        builder.add_meta_graph_and_variables(
            session,
            ["serve"],
            signature_def_map={
                "serving_default": build({"x": info(x)}, {"y": info(y)}, "tensorflow/serving/predict"),
                "regress": build(examples, {"outputs": info(y)}, "tensorflow/serving/regress"),
                "regress_more": build(examples, {"outputs": info(y2)}, "tensorflow/serving/regress"),
                "classify": build(
                    examples, {"classes": info(labels), "scores": info(y)}, "tensorflow/serving/classify"
                ),
                "classify_scores": build(examples, {"scores": info(y)}, "tensorflow/serving/classify"),
                "odd_method": build({"x": info(x)}, {"y": info(y)}, "something/else"),
            },
        )
        builder.save()


class Several(tf.Module):
    """Two inputs and two outputs by name; rows that do not fit together; a scalar."""

    @tf.function(
        input_signature=[tf.TensorSpec([None], tf.float32, "a"), tf.TensorSpec([None], tf.float32, "b")]
    )
    def compute(self, a, b):
        return {"sum": a + b, "product": a * b}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "a")])
    def uneven(self, a):
        return {"all": a, "first": a[:1]}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "a")])
    def scalar(self, a):
        return {"total": tf.reduce_sum(a)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "a")])
    def divide(self, a):
        return {"quotient": a / tf.zeros_like(a)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "turns")])
    def spin(self, turns):
        """Short operations, as many as asked for: hours of them, if need be."""
        matrix = tf.eye(64)
        for _ in tf.range(tf.cast(turns[0], tf.int32)):
            matrix = tf.linalg.l2_normalize(matrix @ matrix)
        return {"sum": tf.reduce_sum(matrix)[tf.newaxis]}

    @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32, "pair")])
    def pairs(self, pair):
        return {"swapped": tf.reverse(pair, [1])}


class Strings(tf.Module):
    """Strings back as text and as bytes."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "text")])
    def echo(self, text):
        return {"text": text, "raw_bytes": text}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "text")])
    def text(self, text):
        return {"text": text}


class Types(tf.Module):
    """One signature per type, which gives back what it was given."""


class Counter(tf.Module):
    """Counts its calls."""

    def __init__(self):
        super().__init__()
        self.calls = tf.Variable(0, dtype=tf.int64)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.int64, "by")])
    def count(self, by):
        return {"calls": tf.reshape(self.calls.assign_add(tf.reduce_sum(by)), [1])}


def several(path: Path) -> None:
    module = Several()
    signatures = {
        "serving_default": module.compute,
        "uneven": module.uneven,
        "scalar": module.scalar,
        "divide": module.divide,
        "pairs": module.pairs,
        "spin": module.spin,
    }
    tf.saved_model.save(module, str(path), signatures=signatures)


def with_default(path: Path) -> None:
    """`several`, whose input b is 10 for two rows where a request does not give it."""
    several(path)
    file = path / "saved_model.pb"
    saved = saved_model_pb2.SavedModel.FromString(file.read_bytes())
    signature = saved.meta_graphs[0].signature_def["serving_default"]
    signature.defaults["b"].CopyFrom(tf.make_tensor_proto(np.array([10.0, 10.0], np.float32)))
    file.write_bytes(saved.SerializeToString())


def strings(path: Path) -> None:
    module = Strings()
    tf.saved_model.save(module, str(path), signatures={"serving_default": module.echo, "text": module.text})


def types(path: Path) -> None:
    module = Types()
    signatures = {}
    for name in TYPES:
        spec = tf.TensorSpec([None], tf.dtypes.as_dtype(name), "x")
        signatures[name] = tf.function(lambda x: {"y": tf.identity(x)}, input_signature=[spec])
        setattr(module, f"as_{name}", signatures[name])
    tf.saved_model.save(module, str(path), signatures=signatures)


def counter(path: Path) -> None:
    module = Counter()
    tf.saved_model.save(module, str(path), signatures={"serving_default": module.count})


def with_warmup(path: Path, records: int) -> None:
    """The counter, with requests that are replayed on loading."""
    counter(path)
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "warmed"
    request.inputs["by"].CopyFrom(tf.make_tensor_proto(np.array([1], np.int64)))
    log = prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=request))
    extra = path / "assets.extra"
    extra.mkdir()
    with tf.io.TFRecordWriter(str(extra / "tf_serving_warmup_requests")) as writer:
        for _ in range(records):
            writer.write(log.SerializeToString())


def tflite(path: Path, *, signature: bool) -> None:
    """y = x / 2 + 2 as a TensorFlow Lite file, with or without its signature."""

    @tf.function(input_signature=[tf.TensorSpec([None, 1], tf.float32, "x")])
    def half_plus_two(x):
        return {"y": 0.5 * x + 2.0}

    path.mkdir(parents=True)
    concrete = half_plus_two.get_concrete_function()
    if signature:
        module = tf.Module()
        module.f = half_plus_two
        saved = path / "saved"
        tf.saved_model.save(module, str(saved), signatures={"serving_default": concrete})
        converter = tf.lite.TFLiteConverter.from_saved_model(str(saved))
    else:
        converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete])
    (path / "model.tflite").write_bytes(converter.convert())


def broken(path: Path) -> None:
    path.mkdir(parents=True)
    (path / "saved_model.pb").write_bytes(b"no graph at all")


def build(root: Path) -> None:
    """Every model below a root, each in ``<name>/<version>``."""
    half_plus(root / "half_plus_two" / "1", 2.0)
    half_plus(root / "half_plus_two" / "00000002", 3.0)
    several(root / "several" / "1")
    with_default(root / "with_default" / "1")
    strings(root / "strings" / "1")
    types(root / "types" / "1")
    counter(root / "counter" / "1")
    with_warmup(root / "warmed" / "1", records=3)
    broken(root / "broken" / "1")
    (root / "empty").mkdir(exist_ok=True)
