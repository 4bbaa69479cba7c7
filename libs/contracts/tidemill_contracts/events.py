"""Facts that services tell each other: past tense, references rather than payloads.

Optional fields may be added freely; anything else is a new type beside the old one.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from tidemill_contracts.samples import Name, Sample, Split

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Version = Annotated[int, Field(ge=1, lt=2**63)]
Source = Annotated[str, StringConstraints(min_length=1, max_length=256)]

SAMPLES_PER_MESSAGE_MAX = 10_000


class Event(BaseModel):
    """A fact with an id. The id and the time travel in the envelope, not in the body."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    type: ClassVar[str]
    topic: ClassVar[str]

    event_id: Annotated[str, StringConstraints(min_length=1, max_length=128)] = Field(
        default_factory=lambda: os.urandom(16).hex(), exclude=True
    )
    event_time: datetime = Field(default_factory=lambda: datetime.now(UTC), exclude=True)


class SamplesReceived(Event):
    """Labelled samples arrived. The one event that carries its payload."""

    type: ClassVar[str] = "tidemill.samples.received.v1"
    topic: ClassVar[str] = "samples"

    dataset: Name
    split: Split = "train"
    source: Source = "unknown"
    count: Annotated[int, Field(ge=1, le=SAMPLES_PER_MESSAGE_MAX)] | None = None
    samples: Annotated[tuple[Sample, ...], Field(min_length=1, max_length=SAMPLES_PER_MESSAGE_MAX)]

    @model_validator(mode="after")
    def _count_is_true(self) -> SamplesReceived:
        if self.count is not None and self.count != len(self.samples):
            raise ValueError(f"count says {self.count}, but there are {len(self.samples)} samples")
        return self


class BatchStored(Event):
    """Messages of one dataset, split and hour are durable in the store."""

    type: ClassVar[str] = "tidemill.batch.stored.v1"
    topic: ClassVar[str] = "batches"

    dataset: Name
    split: Split
    object: str
    size_bytes: int
    sha256: Sha256
    message_count: int
    sample_count: int
    first_publish_time: datetime
    last_publish_time: datetime


class ModelPublished(Event):
    """A version that beat the champion is whole in the store, labelled `candidate`; `snapshot`: its data."""

    type: ClassVar[str] = "tidemill.model.published.v1"
    topic: ClassVar[str] = "models"

    model: Name
    version: Version
    manifest: str
    digest: Sha256
    round_id: str
    parent_version: Version | None = None
    snapshot: Sha256 | None = None


class ModelServing(Event):
    """A version is loaded, warm and labelled: it answers from now on."""

    type: ClassVar[str] = "tidemill.model.serving.v1"
    topic: ClassVar[str] = "serving"

    model: Name
    version: Version
    label: Literal["stable", "candidate", "previous"] = "stable"
    replaced_version: Version | None = None


class ModelRefused(Event):
    """A version was not let through; what served before serves on."""

    type: ClassVar[str] = "tidemill.model.refused.v1"
    topic: ClassVar[str] = "serving"

    model: Name
    version: Version
    reason: str


class PredictionAnswered(Event):
    """A prediction that was sampled. `request` and `response` are left out where they were too large."""

    type: ClassVar[str] = "tidemill.prediction.answered.v1"
    topic: ClassVar[str] = "predictions"

    model: str
    version: Version
    label: Literal["stable", "candidate", "previous", ""]
    signature: str
    dialect: str
    request: Any | None = None
    response: Any | None = None
    batch_rows: int
    queue_ms: float
    compute_ms: float


EVENTS: tuple[type[Event], ...] = (
    SamplesReceived,
    BatchStored,
    ModelPublished,
    ModelServing,
    ModelRefused,
    PredictionAnswered,
)
