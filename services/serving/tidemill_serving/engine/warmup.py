"""Replays recorded requests on a version before it answers, so that its first caller does not pay."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2
from tidemill_chassis.logs import get_logger

from tidemill_serving.engine.inference import classify, multi_inference, regress
from tidemill_serving.engine.predict import predict
from tidemill_serving.engine.servable import Loaded, Servable
from tidemill_serving.engine.status import Code, StatusError, invalid_argument

log = get_logger(__name__)

FILE = "assets.extra/tf_serving_warmup_requests"
RECORDS_MAX = 1000


def warm_up(servable: Servable, name: str, version: int, path: Path) -> int:
    """Replay the records beside the model, if there are any; return how many.

    Raises:
        StatusError: too many records, one that cannot be read, or one that the model refuses.
    """
    file = path / FILE
    if not file.is_file():
        return 0
    resolver = _Only(servable, version)
    count = 0
    for count, raw in enumerate(_records(file), start=1):
        if count > RECORDS_MAX:
            raise invalid_argument(f"Number of warmup records exceeds the maximum ({RECORDS_MAX}) at {file}")
        _replay(resolver, prediction_log_pb2.PredictionLog.FromString(raw))
    log.info("version_warm", model=name, version=version, records=count)
    return count


def _records(file: Path) -> Iterator[bytes]:
    try:
        yield from tf.compat.v1.io.tf_record_iterator(str(file))
    except tf.errors.DataLossError as error:
        raise StatusError(
            Code.DATA_LOSS, f"Failed to read warmup records at {file}: {error.message}"
        ) from error


def _replay(resolver: _Only, record: Any) -> None:
    kind = record.WhichOneof("log_type")
    if kind == "predict_log":
        predict(resolver, record.predict_log.request)
    elif kind == "classify_log":
        classify(resolver, record.classify_log.request)
    elif kind == "regress_log":
        regress(resolver, record.regress_log.request)
    elif kind == "multi_inference_log":
        multi_inference(resolver, record.multi_inference_log.request)
    else:
        raise StatusError(Code.UNIMPLEMENTED, f"Unsupported log_type for warmup: {kind}")


class _Only:
    """Resolves every request to the one version that is being warmed."""

    def __init__(self, servable: Servable, version: int) -> None:
        self._loaded = Loaded(servable, version)

    @contextmanager
    def handle(self, spec: Any) -> Iterator[Loaded]:
        yield self._loaded

    def observe_runtime(self, name: str, api: str, seconds: float) -> None:
        """Warm-up is no traffic."""
