"""Which id each sample of a message has: its own, or the one that its content and source give it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tidemill_contracts.events import SamplesReceived
from tidemill_contracts.samples import Sample, sample_id


@dataclass(frozen=True)
class IdentifiedSample:
    """A sample with its id. position: in the message, from 0."""

    sample_id: str
    position: int
    sample: Sample
    content: bytes


def identified(event: SamplesReceived, positions: Sequence[int] | None = None) -> Iterator[IdentifiedSample]:
    """The event's samples in order; one whose image is not Base64 has no id and is left out.

    positions: where each stands in its message, if others stand between them that cannot be read.
    """
    occurrences: Counter[bytes] = Counter()
    for position, sample in zip(positions or range(len(event.samples)), event.samples, strict=True):
        try:
            content = sample.content()
        except ValueError:
            continue
        ident = sample.id
        if ident is None:
            ident = sample_id(content, event.source, occurrences[content])
            occurrences[content] += 1
        yield IdentifiedSample(ident, position, sample, content)
