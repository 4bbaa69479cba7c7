"""Samples into messages: few enough for a reader's memory, many enough to be cheap."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tidemill_contracts.bus import Message
from tidemill_contracts.envelope import to_message
from tidemill_contracts.events import SamplesReceived
from tidemill_contracts.samples import Sample, Split

SOURCE = "tidemill/ingest"
MESSAGE_BYTES_MAX = 1024 * 1024
"""A message is closed before it is larger; a single larger sample goes alone."""


@dataclass(frozen=True)
class Origin:
    """What all samples of a request have in common."""

    dataset: str
    split: Split
    source: str


def pack(origin: Origin, samples: Sequence[Sample], samples_max: int) -> list[Message]:
    """Messages of at most `samples_max` samples and about MESSAGE_BYTES_MAX each, in order."""
    return [_message(origin, portion) for portion in _portions(samples, samples_max)]


def _message(origin: Origin, samples: Sequence[Sample]) -> Message:
    event = SamplesReceived.model_construct(
        dataset=origin.dataset,
        split=origin.split,
        source=origin.source,
        count=len(samples),
        samples=tuple(samples),
    )
    attributes = {
        "dataset": origin.dataset,
        "split": origin.split,
        "source": origin.source,
        "count": str(len(samples)),
    }
    return to_message(event, source=SOURCE, attributes=attributes)


def _portions(samples: Sequence[Sample], samples_max: int) -> Iterator[Sequence[Sample]]:
    start, size_bytes = 0, 0
    for index, sample in enumerate(samples):
        weight = _weight(sample)
        if index > start and (index - start >= samples_max or size_bytes + weight > MESSAGE_BYTES_MAX):
            yield samples[start:index]
            start, size_bytes = index, 0
        size_bytes += weight
    yield samples[start:]


def _weight(sample: Sample) -> int:
    """About how many bytes of JSON; exact for images, which weigh most."""
    if sample.row is not None:
        return 64 + sum(len(name) + len(str(value)) + 6 for name, value in sample.row.items())
    return 128 + len(sample.image or sample.text or "")
