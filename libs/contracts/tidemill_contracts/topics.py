"""Who writes and who reads each topic, from topics.yaml."""

from __future__ import annotations

from importlib.resources import files
from typing import Annotated

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter


class Topic(BaseModel):
    """One topic.

    consumers: by subscription, the service that reads through it.
    unordered: those of the subscriptions that do without the order of ordering keys.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    events: Annotated[tuple[str, ...], Field(min_length=1)]
    producers: Annotated[tuple[str, ...], Field(min_length=1)]
    consumers: dict[str, str]
    unordered: tuple[str, ...] = ()


def load_topics() -> dict[str, Topic]:
    """Every topic by name."""
    text = files("tidemill_contracts").joinpath("topics.yaml").read_text("utf-8")
    return TypeAdapter(dict[str, Topic]).validate_python(yaml.safe_load(text))
