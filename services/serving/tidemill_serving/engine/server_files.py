"""The files that flags name besides the models' configuration: batching parameters and monitoring."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf import text_format

from tidemill_serving.declared import message_classes
from tidemill_serving.engine.status import invalid_argument, not_found

FILE_BYTES_MAX = 16 * 2**20
METRICS_PATH = "/monitoring/prometheus/metrics"

_CLASSES = message_classes(
    "tidemill.serving.files",
    {
        "INT": {"value": (1, "int64")},
        "TEXT": {"value": (1, "string")},
        "FLAG": {"value": (1, "bool")},
        "BATCHING": {
            "max_batch_size": (1, "INT"),
            "batch_timeout_micros": (2, "INT"),
            "max_enqueued_batches": (3, "INT"),
            "num_batch_threads": (4, "INT"),
            "thread_pool_name": (5, "TEXT"),
            "allowed_batch_sizes": (6, "int64*"),
            "pad_variable_length_inputs": (7, "bool"),
            "enable_large_batch_splitting": (8, "FLAG"),
            "max_execution_batch_size": (9, "INT"),
        },
        "PROMETHEUS": {"enable": (1, "bool"), "path": (2, "string")},
        "MONITORING": {"prometheus_config": (1, "PROMETHEUS")},
    },
)


@dataclass(frozen=True)
class BatchingParameters:
    """How requests share a run of the graph; defaults are the server's own.

    batch_size_max: rows of a batch. wait_s_max: how long an unfilled batch waits for more.
    batches_max: batches waiting in one queue; beyond that callers are turned away.
    threads: batches that run at once. allowed_sizes: batches are padded up to one of these.
    split: a request larger than a batch is divided.
    """

    batch_size_max: int = 1000
    wait_s_max: float = 0.0
    batches_max: int = 10
    threads: int = 2
    allowed_sizes: tuple[int, ...] = ()
    split: bool = False


def read_batching(path: str, *, cores: int) -> BatchingParameters:
    """The parameters of a text file; with no path, the defaults.

    Raises:
        StatusError: the file is missing or is not such text, or its sizes contradict each other.
    """
    if not path:
        return BatchingParameters(threads=cores)
    proto = _read(path, _CLASSES["BATCHING"]())
    default = BatchingParameters()
    parameters = BatchingParameters(
        batch_size_max=_value(proto, "max_batch_size", default.batch_size_max),
        wait_s_max=_value(proto, "batch_timeout_micros", 0) / 1e6,
        batches_max=_value(proto, "max_enqueued_batches", default.batches_max),
        threads=_value(proto, "num_batch_threads", cores),
        allowed_sizes=tuple(proto.allowed_batch_sizes),
        split=bool(_value(proto, "enable_large_batch_splitting", False)),
    )
    sizes = parameters.allowed_sizes
    if sizes and (
        list(sizes) != sorted(set(sizes)) or sizes[-1] != parameters.batch_size_max or sizes[0] < 1
    ):
        raise invalid_argument(
            "allowed_batch_sizes entries must be in increasing order and the last must equal max_batch_size"
        )
    if min(parameters.batch_size_max, parameters.batches_max, parameters.threads) < 1:
        raise invalid_argument("max_batch_size, max_enqueued_batches and num_batch_threads must be positive")
    return parameters


def read_metrics_path(path: str) -> str | None:
    """Where a monitoring file wants the metrics; None without a file, or if it does not enable them.

    Raises:
        StatusError: the file is missing or is not such text.
    """
    if not path:
        return None
    prometheus = _read(path, _CLASSES["MONITORING"]()).prometheus_config
    if not prometheus.enable:
        return None
    return str(prometheus.path or METRICS_PATH)


def _read(path: str, proto: Any) -> Any:
    try:
        raw = Path(path).read_bytes()
    except OSError as error:
        raise not_found(f"{path}; {error.strerror}") from error
    try:
        if len(raw) > FILE_BYTES_MAX:
            raise ValueError(f"over {FILE_BYTES_MAX} bytes")
        return text_format.Parse(raw.decode(), proto)
    except (text_format.ParseError, ValueError) as error:
        raise invalid_argument(f"Invalid protobuf file: '{path}'") from error


def _value(proto: Any, name: str, default: int) -> int:
    return int(getattr(proto, name).value) if proto.HasField(name) else default
