"""The ModelServerConfig as the engine uses it: which models, from where, which versions, which labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from tidemill_serving.engine.status import failed_precondition, invalid_argument, not_found
from tidemill_serving.engine.versions import All, Latest, Policy, Specific

TENSORFLOW = "tensorflow"
LATEST = Latest(1)
CONFIG_BYTES_MAX = 16 * 1024 * 1024


@dataclass(frozen=True)
class ModelConfig:
    """One model of the configuration."""

    name: str
    base_path: Path
    platform: str = TENSORFLOW
    policy: Policy = LATEST
    labels: Mapping[str, int] = field(default_factory=dict)


Configs = tuple[ModelConfig, ...]


def read_file(path: str) -> Configs | None:
    """The models of a ModelServerConfig in text format; None if it sets nothing, which asks for no action.

    Raises:
        StatusError: the file is missing, is not such text, or its content is refused by `from_proto`.
    """
    try:
        raw = Path(path).read_bytes()
    except OSError as error:
        raise not_found(f"{path}; {error.strerror}") from error
    config = model_server_config_pb2.ModelServerConfig()
    try:
        if len(raw) > CONFIG_BYTES_MAX:
            raise ValueError(f"over {CONFIG_BYTES_MAX} bytes")
        text_format.Parse(raw.decode(), config)
    except (text_format.ParseError, ValueError) as error:
        raise invalid_argument(f"Invalid protobuf file: '{path}'") from error
    return from_proto(config) if config.WhichOneof("config") is not None else None


def from_proto(config: model_server_config_pb2.ModelServerConfig) -> Configs:
    """The models of a configuration, checked as the server checks them.

    Raises:
        StatusError: INVALID_ARGUMENT with the server's own words.
    """
    case = config.WhichOneof("config")
    if case == "custom_model_config":
        raise failed_precondition("ModelServer does not yet support custom model config.")
    configs = tuple(_model(each) for each in config.model_config_list.config)
    return validate(configs)


def validate(configs: Sequence[ModelConfig]) -> Configs:
    """The same models, if their names are distinct and their base paths absolute; raises as `from_proto`."""
    seen: set[str] = set()
    for config in configs:
        if config.name in seen:
            raise invalid_argument(f"Illegal to list model {config.name} multiple times in config list")
        seen.add(config.name)
    for config in configs:
        if not config.base_path.is_absolute():
            raise invalid_argument(
                f"Expected model {config.name} to have an absolute path or URI;"
                f" got base_path()={config.base_path}"
            )
    return tuple(configs)


def check_transition(old: Sequence[ModelConfig], new: Sequence[ModelConfig]) -> None:
    """Return if a server of the old models may change to the new ones.

    Raises:
        StatusError: a model would change its platform.
    """
    platforms = {config.name: config.platform for config in old}
    for config in new:
        before = platforms.get(config.name, config.platform)
        if before != config.platform:
            raise invalid_argument(
                f"Illegal to change a model's platform. For model {config.name} platform was {before}"
                f" and new platform requested is {config.platform}"
            )


def _model(config: model_server_config_pb2.ModelConfig) -> ModelConfig:
    return ModelConfig(
        name=config.name,
        base_path=Path(config.base_path),
        platform=_platform(config),
        policy=_policy(config),
        labels=dict(config.version_labels),
    )


def _platform(config: model_server_config_pb2.ModelConfig) -> str:
    model_type, platform = int(config.model_type), str(config.model_platform)
    if model_type and platform:
        raise invalid_argument(
            "Illegal setting both ModelServerConfig::model_type (deprecated) and model_platform."
        )
    if not model_type and not platform:
        raise invalid_argument(
            "Illegal setting neither ModelServerConfig::model_type (deprecated) nor model_platform."
        )
    platform = platform or (TENSORFLOW if model_type == 1 else "other")
    if platform != TENSORFLOW:
        raise invalid_argument(f"Model {config.name} requests unsupported platform {platform}")
    return platform


def _policy(config: model_server_config_pb2.ModelConfig) -> Policy:
    policy = config.model_version_policy
    choice = policy.WhichOneof("policy_choice")
    if choice == "all":
        return All()
    if choice == "specific":
        return Specific(frozenset(policy.specific.versions))
    return Latest(policy.latest.num_versions or 1)
