"""The one call path into TensorFlow: prepared calls on a loaded SavedModel."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from time import monotonic

import numpy as np
import pytest
import tensorflow as tf
from tidemill_serving.engine import saved_model
from tidemill_serving.engine.saved_model import SavedModel
from tidemill_serving.engine.status import Code, StatusError


class Arithmetic(tf.Module):
    """Two named inputs, several outputs, a counter with state."""

    def __init__(self):
        super().__init__()
        self.calls = tf.Variable(0, dtype=tf.int64)

    @tf.function(
        input_signature=[tf.TensorSpec([None], tf.float32, "a"), tf.TensorSpec([None], tf.float32, "b")]
    )
    def compute(self, a, b):
        return {"sum": a + b, "difference": a - b, "product": a * b}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.int64, "step")])
    def count(self, step):
        return {"calls": self.calls.assign_add(tf.reduce_sum(step))}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "turns")])
    def spin(self, turns):
        """Short operations, as many as asked for: minutes, if need be."""
        matrix = tf.eye(64)
        for _ in tf.range(tf.cast(turns[0], tf.int32)):
            matrix = tf.linalg.l2_normalize(matrix @ matrix)
        return {"sum": tf.reduce_sum(matrix)[tf.newaxis]}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "image")])
    def brightness(self, image):
        def one(encoded):
            return tf.reduce_mean(tf.cast(tf.io.decode_png(encoded, 1), tf.float32))

        return {"mean": tf.map_fn(one, image, fn_output_signature=tf.float32)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("arithmetic")
    module = Arithmetic()
    signatures = {
        "serving_default": module.compute,
        "count": module.count,
        "image": module.brightness,
        "spin": module.spin,
    }
    tf.saved_model.save(module, str(path), signatures=signatures)
    return path


@pytest.fixture
def model(folder):
    loaded = SavedModel(folder)
    yield loaded
    loaded.close()


def floats(*values):
    return np.array(values, np.float32)


def test_outputs_come_in_the_order_asked_for(model):
    product, total = model.run("serving_default", {"b": floats(2), "a": floats(5)}, ["product", "sum"])

    assert (product.tolist(), total.tolist()) == ([10.0], [7.0])


def test_one_output_alone_is_computed_alone(model):
    (difference,) = model.run("serving_default", {"a": floats(5), "b": floats(2)}, ["difference"])

    assert difference.tolist() == [3.0]


def test_initialisers_are_no_signatures(model):
    assert sorted(model.signatures) == ["count", "image", "serving_default", "spin"]


def test_state_lasts_between_calls(model):
    one = {"step": np.array([1], np.int64)}

    assert [int(model.run("count", one, ["calls"])[0]) for _ in range(3)] == [1, 2, 3]


def test_encoded_images_are_decoded_in_the_graph(model):
    png = tf.io.encode_png(np.full((2, 2, 1), 7, np.uint8)).numpy()

    (mean,) = model.run("image", {"image": np.array([png, png], object)}, ["mean"])

    assert mean.tolist() == [7.0, 7.0]


def test_threads_share_a_model_without_mixing_answers(model):
    wrong: list[object] = []

    def call(number):
        for turn in range(200):
            a, b = floats(number, turn), floats(turn, number)
            outputs = [["sum"], ["product", "sum"], ["difference"]][turn % 3]
            answers = dict(zip(outputs, model.run("serving_default", {"a": a, "b": b}, outputs), strict=True))
            expected = {"sum": a + b, "product": a * b, "difference": a - b}
            wrong.extend(name for name in outputs if not np.array_equal(answers[name], expected[name]))

    threads = [threading.Thread(target=call, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert wrong == []


def test_ever_new_sets_of_outputs_stay_within_the_limit(model, monkeypatch):
    monkeypatch.setattr(saved_model, "CALLS_MAX", 2)
    inputs = {"a": floats(5), "b": floats(2)}

    for outputs in (["sum"], ["product"], ["difference"], ["sum", "difference"]):
        model.run("serving_default", inputs, outputs)

    assert model.run("serving_default", inputs, ["difference", "sum"])[0].tolist() == [3.0]
    assert len(model._calls) <= 2 + 1


def test_a_run_stops_at_its_deadline(model):
    started_s = monotonic()

    with pytest.raises(StatusError) as caught:
        model.run("spin", {"turns": floats(1e9)}, ["sum"], deadline_s=started_s + 0.3)
    took_s = monotonic() - started_s

    assert caught.value.code is Code.DEADLINE_EXCEEDED
    assert took_s < 20, "it would take hours to its end"
    after_s = time.process_time()
    threading.Event().wait(0.5)
    assert time.process_time() - after_s < 0.4, "the run goes on behind our back"


def test_a_run_with_a_deadline_answers_as_one_without(model):
    inputs = {"a": floats(5), "b": floats(2)}

    timed = model.run("serving_default", inputs, ["sum", "product"], deadline_s=monotonic() + 60)

    assert [each.tolist() for each in timed] == [[7.0], [10.0]]


def test_more_callers_with_deadlines_than_threads_all_get_their_answers(model):
    """Their runs share a small pool of threads, in which no run may wait for another."""
    png = tf.io.encode_png(np.full((2, 2, 1), 7, np.uint8)).numpy()
    images = {"image": np.array([png] * 4, object)}
    answers: list[list[float]] = []

    def call():
        for _ in range(10):
            (mean,) = model.run("image", images, ["mean"], deadline_s=monotonic() + 60)
            answers.append(mean.tolist())

    threads = [threading.Thread(target=call) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert answers == [[7.0] * 4] * 160


def test_nothing_runs_for_a_deadline_that_has_passed(model):
    one = {"step": np.array([1], np.int64)}

    with pytest.raises(StatusError) as caught:
        model.run("count", one, ["calls"], deadline_s=monotonic() - 1)

    assert caught.value.code is Code.DEADLINE_EXCEEDED
    assert int(model.run("count", one, ["calls"])[0]) == 1


def test_a_wrong_shape_is_the_callers_fault(model):
    with pytest.raises(StatusError) as caught:
        model.run("serving_default", {"a": floats(1, 2, 3), "b": floats(1, 2)}, ["sum"])

    assert caught.value.code is Code.INVALID_ARGUMENT


def test_a_wrong_type_is_the_callers_fault(model):
    with pytest.raises(StatusError) as caught:
        model.run("serving_default", {"a": np.array([1]), "b": floats(1)}, ["sum"])

    assert caught.value.code is Code.INVALID_ARGUMENT


def test_a_folder_without_a_model_is_not_found(tmp_path: Path):
    with pytest.raises(StatusError, match="Could not find SavedModel"):
        SavedModel(tmp_path)


def test_tags_that_the_model_lacks_are_not_found(folder):
    with pytest.raises(StatusError, match="Could not find meta graph def matching supplied tags"):
        SavedModel(folder, ("gpu",))


def test_a_keras_model_answers_as_keras_does(tmp_path):
    import keras

    keras.utils.set_random_seed(7)
    network = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, activation="softmax")])
    network.export(str(tmp_path), verbose=False)
    rows = np.arange(8, dtype=np.float32).reshape(2, 4)

    loaded = SavedModel(tmp_path)
    (alias,) = loaded.signatures["serving_default"].inputs
    (output,) = loaded.signatures["serving_default"].outputs
    answer = loaded.run("serving_default", {alias: rows}, [output])[0]

    np.testing.assert_allclose(answer, network(rows).numpy(), rtol=1e-5)


def test_a_tensorflow_1_model_answers(tmp_path):
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        x = tf.compat.v1.placeholder(tf.float32, [None], name="x")
        y = 0.5 * x + tf.compat.v1.get_variable("two", initializer=2.0)
        session.run(tf.compat.v1.global_variables_initializer())
        tf.compat.v1.saved_model.simple_save(session, str(tmp_path / "1"), {"x": x}, {"y": y})

    loaded = SavedModel(tmp_path / "1")

    assert loaded.run("serving_default", {"x": floats(1, 2)}, ["y"])[0].tolist() == [2.5, 3.0]
