"""Puts the engine together from its flags and runs it."""

from __future__ import annotations

import gc
import os
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from threading import Thread

import tensorflow as tf
from tidemill_chassis.lifecycle import Stop
from tidemill_chassis.logs import get_logger

from tidemill_serving.engine.core import Core
from tidemill_serving.engine.flags import Flags
from tidemill_serving.engine.grpc_server import GrpcServer, channel_arguments
from tidemill_serving.engine.keeper import Keeper
from tidemill_serving.engine.loading import counted, loader
from tidemill_serving.engine.metrics import Metrics
from tidemill_serving.engine.model_config import Configs, ModelConfig, read_file, validate
from tidemill_serving.engine.polling import poll, poll_config
from tidemill_serving.engine.rest_server import RestServer
from tidemill_serving.engine.server_files import read_metrics_path

log = get_logger(__name__)

START_WAIT_S_MAX = 600.0
"""How long the first versions may load before the server listens without them."""

STOP_LOOK_S = 0.2
"""The kernel may hand a signal to one of TensorFlow's threads, which does not wake the main one: it looks."""

CALLS_AT_ONCE = max(2, os.cpu_count() or 1)
"""gRPC calls at work at once. With batching, callers wait for one another: there all may come in."""

GC_THRESHOLD = 50_000


def versions_text() -> str:
    """What ``--version`` prints."""
    api, ours = version("tensorflow-serving-api"), version("tidemill-serving")
    return f"TensorFlow ModelServer: {api}+tidemill.{ours}\nTensorFlow Library: {tf.__version__}\n"


def run(flags: Flags, stop: Stop) -> None:
    """Load what is configured, listen, look for versions, until `stop`; then drain.

    Raises:
        StatusError: the configuration is refused.
        OSError: an address is taken.
    """
    _quieten_tensorflow()
    configs = configured(flags)
    keeper = Keeper(
        counted(loader(flags), lambda succeeded: metrics.observe_load(succeeded=succeeded)),
        retries_max=flags.max_num_load_retries,
        retry_interval_s=flags.load_retry_interval_micros / 1e6,
    )
    metrics = Metrics(lambda name: core.knows(name))
    core = Core(
        keeper,
        labels_before_available=flags.allow_version_labels_for_unavailable_models,
        observe_runtime=metrics.observe_runtime,
    )
    core.reload(configs, wait_s=0)
    core.settle(START_WAIT_S_MAX)
    _quieten_collector()
    with ExitStack() as listeners:
        _listen(flags, core, metrics, listeners)
        _look_for_changes(flags, core, stop)
        log.info(
            "serving",
            port=flags.port,
            rest_port=flags.rest_api_port,
            socket=flags.grpc_socket_path,
            models=[config.name for config in configs],
        )
        while not stop.wait(STOP_LOOK_S):
            pass
        log.info("draining")
        keeper.close()
    log.info("stopped")


def _listen(flags: Flags, core: Core, metrics: Metrics, listeners: ExitStack) -> None:
    """Open what the flags name. Whatever was opened last is drained first: REST, then gRPC."""
    metrics_path = read_metrics_path(flags.monitoring_config_file)
    grpc_server = GrpcServer(
        core,
        metrics,
        port=flags.port,
        socket_path=flags.grpc_socket_path,
        threads=flags.grpc_max_threads,
        at_once=flags.grpc_max_threads if flags.enable_batching else CALLS_AT_ONCE,
        arguments=channel_arguments(flags.grpc_channel_arguments),
    )
    listeners.enter_context(grpc_server)
    if flags.rest_api_port and flags.rest_api_port == flags.port:
        log.error("rest_port_taken", reason="--rest_api_port cannot be same as --port")
    elif flags.rest_api_port:
        rest_server = RestServer(
            core,
            metrics,
            port=flags.rest_api_port,
            cors=flags.enable_cors_support,
            metrics_path=metrics_path,
            timeout_s=flags.rest_api_timeout_in_ms / 1e3 if flags.rest_api_timeout_in_ms > 0 else None,
        )
        listeners.enter_context(rest_server)


def _look_for_changes(flags: Flags, core: Core, stop: Stop) -> None:
    """Threads that look for new versions and at the configuration file; they end with the process."""
    looks = [Thread(target=poll, args=(core, flags.file_system_poll_wait_seconds, stop), daemon=True)]
    if flags.model_config_file:
        every_s = flags.model_config_file_poll_wait_seconds
        arguments = (core, flags.model_config_file, every_s, stop)
        looks.append(Thread(target=poll_config, args=arguments, daemon=True))
    for thread in looks:
        thread.start()


def configured(flags: Flags) -> Configs:
    """The models that the flags name; none at all is fine: a ReloadConfig may bring them.

    Raises:
        StatusError: as `read_file` does.
    """
    if flags.model_config_file:
        return read_file(flags.model_config_file) or ()
    if flags.model_base_path:
        return validate([ModelConfig(name=flags.model_name, base_path=Path(flags.model_base_path))])
    return ()


def _quieten_tensorflow() -> None:
    """TensorFlow's Python side logs every restore; our own lines tell the same."""
    tf.get_logger().setLevel("WARNING")


def _quieten_collector() -> None:
    """Keep the collector from walking TensorFlow's half a million objects during requests."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD, 50, 50)
