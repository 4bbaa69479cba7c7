"""Rules that a client sees only in rare moments: status codes, labels of the future, looks, warm-up."""

from __future__ import annotations

from pathlib import Path

import pytest
import tensorflow as tf
from tensorflow_serving.apis import model_pb2
from tidemill_chassis.lifecycle import Stop
from tidemill_serving.engine import warmup
from tidemill_serving.engine.core import Core
from tidemill_serving.engine.keeper import Keeper
from tidemill_serving.engine.metrics import LOADS, Metrics
from tidemill_serving.engine.model_config import ModelConfig
from tidemill_serving.engine.polling import poll
from tidemill_serving.engine.rest import HTTP_STATUS
from tidemill_serving.engine.status import Code, StatusError

HTTP = {
    200: "OK",
    400: "INVALID_ARGUMENT FAILED_PRECONDITION OUT_OF_RANGE",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ALREADY_EXISTS ABORTED",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    500: "UNKNOWN INTERNAL DATA_LOSS",
    501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


@pytest.mark.parametrize(("status", "codes"), HTTP.items())
def test_every_code_has_the_servers_http_status(status: int, codes: str) -> None:
    assert {HTTP_STATUS.get(Code[name], 500) for name in codes.split()} == {status}


def test_no_code_is_left_out() -> None:
    assert {name for codes in HTTP.values() for name in codes.split()} == set(Code.__members__)


@pytest.fixture
def empty(tmp_path: Path) -> Keeper:
    """A keeper that never gets to load anything."""

    def load(name: str, version: int, path: Path) -> None:
        raise AssertionError("there is nothing to load")

    return Keeper(load, retries_max=0, retry_interval_s=0.0)  # type: ignore[arg-type]


def labelled(tmp_path: Path) -> ModelConfig:
    return ModelConfig(name="m", base_path=tmp_path, labels={"stable": 7})


def test_a_label_on_what_is_not_available_is_refused(empty: Keeper, tmp_path: Path) -> None:
    with pytest.raises(StatusError, match="not currently available for inference") as caught:
        Core(empty).reload((labelled(tmp_path),), wait_s=0)

    assert caught.value.code is Code.FAILED_PRECONDITION


def test_the_flag_lets_a_new_label_wait_for_its_version_but_moves_no_old_one(
    empty: Keeper, tmp_path: Path
) -> None:
    core = Core(empty, labels_before_available=True)

    core.reload((labelled(tmp_path),), wait_s=0)

    spec = model_pb2.ModelSpec(name="m", version_label="stable")
    with pytest.raises(StatusError, match=r"Servable not found for request: Specific\(m, 7\)"):
        core.handle(spec)
    with pytest.raises(StatusError, match="not currently available for inference"):
        core.reload((labelled(tmp_path),), wait_s=0)


@pytest.mark.parametrize("every_s", [0, -1])
def test_without_an_interval_nobody_looks_again(every_s: int) -> None:
    class Untouched:
        def look(self) -> None:
            raise AssertionError("it looked")

    poll(Untouched(), every_s, Stop())  # type: ignore[arg-type]


def test_too_many_warm_up_records_refuse_the_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warmup, "_replay", lambda resolver, record: None)
    file = tmp_path / warmup.FILE
    file.parent.mkdir()
    with tf.io.TFRecordWriter(str(file)) as writer:
        for _ in range(warmup.RECORDS_MAX + 1):
            writer.write(b"")

    with pytest.raises(StatusError, match="Number of warmup records exceeds the maximum"):
        warmup.warm_up(None, "m", 1, tmp_path)  # type: ignore[arg-type]


def test_counters_are_told_by_tensorflows_names_and_unknown_ones_as_nothing() -> None:
    metrics = Metrics(lambda name: True)
    metrics.observe("m", "OK", "Predict", "GRPC", 0.001)
    metrics.observe("m", "NOT_FOUND", "Predict", "GRPC", 0.001)
    metrics.observe_load(succeeded=False)

    names = ["/tensorflow/serving/request_count", LOADS, "no such metric"]

    assert [metrics.total(name) for name in names] == [2, 1, 0]
    assert b':tensorflow:cc:saved_model:load_attempt_count{status="fail"} 1' in metrics.exposition()
