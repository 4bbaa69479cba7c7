"""The command line, as tensorflow_model_server takes it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, fields

INT32_MAX = 2**31 - 1

HELP = {
    "port": "TCP port to listen on for gRPC; 0 disables it",
    "rest_api_port": "TCP port to listen on for the REST API; 0 disables it",
    "rest_api_timeout_in_ms": "milliseconds until a REST request is given up; 0 for no limit",
    "enable_cors_support": "answer browsers of other origins on the REST API",
    "grpc_socket_path": "UNIX socket to listen on for gRPC; empty disables it",
    "model_name": "name of the single model; ignored with --model_config_file",
    "model_base_path": "folder of the single model's versions; ignored with --model_config_file",
    "model_config_file": "file with a ModelServerConfig in text format",
    "model_config_file_poll_wait_seconds": "seconds between looks at that file; 0 never looks again",
    "file_system_poll_wait_seconds": "seconds between looks for new versions; 0 looks once, below 0 never",
    "allow_version_labels_for_unavailable_models": "a new label may name a version that is not loaded yet",
    "enable_batching": "let requests share a run of the graph",
    "batching_parameters_file": "file with BatchingParameters in text format",
    "monitoring_config_file": "file with a MonitoringConfig in text format",
    "prefer_tflite_model": "load model.tflite of a version folder if it is there",
    "grpc_channel_arguments": "key=value,… for the gRPC server",
    "enable_model_warmup": "replay assets.extra/tf_serving_warmup_requests before a version answers",
    "max_num_load_retries": "how often a failed load is tried again",
    "load_retry_interval_micros": "microseconds between those tries",
    "grpc_max_threads": "threads that answer gRPC calls",
    "tensorflow_intra_op_parallelism": "threads within an operation; 0 for one per core",
    "saved_model_tags": "tags of the meta graph to load, separated by commas",
    "version": "print the versions and leave",
}


class FlagError(Exception):
    """The command line is wrong; the text says where."""


@dataclass(frozen=True)
class Flags:
    """Every flag under the server's own name, with the server's own default."""

    port: int = 8500
    rest_api_port: int = 0
    rest_api_timeout_in_ms: int = 30_000
    enable_cors_support: bool = False
    grpc_socket_path: str = ""
    model_name: str = "default"
    model_base_path: str = ""
    model_config_file: str = ""
    model_config_file_poll_wait_seconds: int = 0
    file_system_poll_wait_seconds: int = 1
    allow_version_labels_for_unavailable_models: bool = False
    enable_batching: bool = False
    batching_parameters_file: str = ""
    monitoring_config_file: str = ""
    prefer_tflite_model: bool = False
    grpc_channel_arguments: str = ""
    enable_model_warmup: bool = True
    max_num_load_retries: int = 5
    load_retry_interval_micros: int = 60_000_000
    grpc_max_threads: int = 4 * (os.cpu_count() or 1)
    tensorflow_intra_op_parallelism: int = 0
    saved_model_tags: str = "serve"
    version: bool = False


def parse(arguments: Sequence[str]) -> Flags:
    """The flags of a command line: ``--flag=value``, ``--flag value``, and ``--flag`` alone for true.

    Raises:
        FlagError: a flag is unknown, or its value is not of its type.
    """
    defaults = {each.name: each.default for each in fields(Flags)}
    given: dict[str, object] = {}
    rest = list(arguments)
    while rest:
        argument = rest.pop(0)
        name, equals, text = argument.removeprefix("--").partition("=")
        if not argument.startswith("--") or name not in defaults:
            raise FlagError(f"unknown argument: {argument}")
        default = defaults[name]
        if not equals:
            takes_next = rest and not rest[0].startswith("--")
            if takes_next and (not isinstance(default, bool) or rest[0].lower() in _BOOLEANS):
                text = rest.pop(0)
            elif isinstance(default, bool):
                text = "true"
            else:
                raise FlagError(f"--{name} needs a value")
        given[name] = _value(name, text, default)
    return Flags(**given)  # type: ignore[arg-type]


_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}


def _value(name: str, text: str, default: object) -> object:
    if isinstance(default, bool):
        if text.lower() not in _BOOLEANS:
            raise FlagError(f"Couldn't interpret value {text} for flag {name}.")
        return _BOOLEANS[text.lower()]
    if isinstance(default, int):
        try:
            number = int(text)
        except ValueError as error:
            raise FlagError(f"Couldn't interpret value {text} for flag {name}.") from error
        if abs(number) > INT32_MAX and name != "load_retry_interval_micros":
            raise FlagError(f"Couldn't interpret value {text} for flag {name}.")
        return number
    return text


def usage(program: str) -> str:
    """What ``--help`` and a wrong flag print."""
    lines = [f"usage: {program}", "Flags:"]
    for each in fields(Flags):
        kind = {bool: "bool", int: "int32", str: "string"}[type(each.default)]
        shown = str(each.default).lower() if isinstance(each.default, bool) else repr(each.default)
        lines.append(f"\t--{each.name}={shown}\t{kind}\t{HELP[each.name]}")
    return "\n".join(lines)
