"""What the registry hands out: plain values, one kind per table or question."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

Role = Literal["train", "validation", "test"]
Part = Literal["train", "rehearsal", "validation"]
RoundKind = Literal["new", "retry"]
Grouping = Literal["stratified", "k_fold", "loss_ranked"]
RoundStatus = Literal["open", "publishing", "promoted", "ignored", "failed"]


@dataclass(frozen=True)
class StoredObject:
    """A batch in the store. sha256: of its bytes when it was indexed; None before."""

    name: str
    dataset: str
    split: str
    sha256: str | None = None


@dataclass(frozen=True)
class ObjectCounts:
    """What indexing an object found.

    sample_count: samples first seen here.
    duplicate_count: samples whose id was known before.
    invalid_count: messages and samples that cannot be used.
    leaked_count: samples kept out because their content is known on the other side of the test line.
    """

    message_count: int = 0
    sample_count: int = 0
    duplicate_count: int = 0
    invalid_count: int = 0
    leaked_count: int = 0


@dataclass(frozen=True)
class SampleRow:
    """One sample: where it lies, what it is, which role it has for ever.

    message_position: in the object; sample_position: in the message; both from 0.
    digest: SHA-256 of the content.
    """

    sample_id: str
    object: str
    message_position: int
    sample_position: int
    label: str
    role: Role
    digest: str


@dataclass(frozen=True)
class RefusedSample:
    """A sample that is kept and in no training view. sample_position: None for a whole message."""

    object: str
    message_position: int
    sample_position: int | None
    sample_id: str | None
    reason: str


@dataclass(frozen=True)
class Ignored:
    """A sample that waits for a retry.

    loss: the champion's on it, when it was ignored; None if not known.
    believed: the gate found no reason to doubt the labels of a round in which it stood.
    """

    sample_id: str
    attempts: int
    label: str = ""
    loss: float | None = None
    believed: bool = False


@dataclass(frozen=True)
class Waiting:
    """Samples that no round of a model has used yet. oldest_at: when the first of them was seen."""

    train_count: int = 0
    validation_count: int = 0
    oldest_at: datetime | None = None

    @property
    def count(self) -> int:
        return self.train_count + self.validation_count


@dataclass(frozen=True)
class RoundRecord:
    """A round as it stands; what is not known yet is None.

    phase, epoch, epochs_max: how far an open round is.
    starts: how often it was begun; more than 1 after a crash or a stop.
    train_count: new or retried training samples; rehearsal_count: older ones beside them.
    validation_count: validation samples, all so far.
    decided_at: when the gate let the challenger through; closed_at: when the round was over.
    reason: of the decision, in one sentence.
    grouping: how a retry's samples were chosen.
    """

    id: str
    model: str
    number: int
    kind: RoundKind
    status: RoundStatus
    phase: str
    epoch: int
    epochs_max: int
    starts: int
    seed: int
    opened_at: datetime
    train_count: int
    rehearsal_count: int
    validation_count: int
    decided_at: datetime | None = None
    closed_at: datetime | None = None
    champion_version: int | None = None
    champion_accuracy: float | None = None
    champion_loss: float | None = None
    challenger_version: int | None = None
    challenger_accuracy: float | None = None
    challenger_loss: float | None = None
    reason: str | None = None
    seconds: float | None = None
    cpu_seconds: float | None = None
    grouping: Grouping | None = None


@dataclass(frozen=True)
class VersionRecord:
    """A published version. accuracy, loss: on the validation samples of its round."""

    model: str
    version: int
    round_id: str
    parent_version: int | None
    digest: str
    created_at: datetime
    accuracy: float
    loss: float


@dataclass(frozen=True)
class TestRun:
    """A version measured on all test samples known at the time."""

    __test__ = False  # not a test class, whatever its name begins with

    model: str
    version: int
    ran_at: datetime
    sample_count: int
    accuracy: float
    loss: float


@dataclass(frozen=True)
class SampleCounts:
    """Samples of a dataset by role."""

    train: int = 0
    validation: int = 0
    test: int = 0


@dataclass(frozen=True)
class PoolCounts:
    """Training and validation samples of a dataset by what a model has done with them.

    new: never in a round. open: in the round that runs. used: in a promoted version's line, or validating.
    ignored: waiting for a retry. exhausted: retried as often as allowed, without success.
    """

    new: int = 0
    open: int = 0
    used: int = 0
    ignored: int = 0
    exhausted: int = 0


@dataclass(frozen=True)
class Lease:
    """The right to be the only one. token: grows with every holder, so that a late one is recognised."""

    name: str
    holder: str
    token: int
    expires_at: datetime
