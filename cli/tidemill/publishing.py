"""Publishes samples through ingest: in requests, at a rate, resumable."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from tidemill_contracts.samples import Sample

from tidemill.ingest_client import IngestClient
from tidemill.resume import Resume
from tidemill.sources.raw_sample import RawSample, with_ids
from tidemill.unread import Unread

REQUEST_BYTES_MAX = 16 * 2**20
SAMPLES_PER_REQUEST = 200


@dataclass(frozen=True)
class Progress:
    """How far a publication is.

    published: samples confirmed in all, those of an earlier try included.
    warnings: what ingest wondered at.
    """

    published: int
    warnings: tuple[str, ...]


def publish_all(
    client: IngestClient,
    dataset: str,
    samples: Iterable[RawSample],
    *,
    resume: Resume | None = None,
    rate_per_s: float | None = None,
    unread: Unread | None = None,
    refuse: Callable[[str], None] | None = None,
    per_request: int = SAMPLES_PER_REQUEST,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], object] = time.sleep,
) -> Generator[Progress, None, None]:
    """Publish the samples in order, request by request, and report after each.

    resume: skip what was confirmed before; forgotten when everything is published.
    rate_per_s: at most so many samples a second.
    unread: is told the id of every confirmed sample, of an earlier try too.
    refuse: is told of every sample that cannot be one, such as a row without a label; the others go on.

    Raises:
        InvalidInput: ingest refused, or a sample cannot be one and nobody takes refusals.
        Unavailable: as the client does.
    """
    done = resume.position() if resume else 0
    begun_s, begun_at = clock(), done
    remaining = with_ids(samples, refuse) if refuse else with_ids(samples)
    earlier = [sample.id or "" for _, sample in islice(remaining, done)]
    if unread is not None:
        unread.add(earlier)
    for raws, batch in _requests(remaining, per_request):
        answer = client.publish(dataset, raws[0].split, raws[0].source, batch)
        done += len(batch)
        if unread is not None:
            unread.add(sample.id or "" for sample in batch)
        if resume:
            resume.advance(done)
        yield Progress(done, tuple(answer.get("warnings", ())))
        if rate_per_s:
            sleep(max(0.0, (done - begun_at) / rate_per_s - (clock() - begun_s)))
    if resume:
        resume.finish()


def _requests(
    samples: Iterable[tuple[RawSample, Sample]], per_request: int
) -> Iterator[tuple[list[RawSample], list[Sample]]]:
    """Cut into requests of one split and source, of at most `per_request` samples and REQUEST_BYTES_MAX."""
    raws: list[RawSample] = []
    batch: list[Sample] = []
    size_bytes = 0
    for raw, sample in samples:
        sample_bytes = len(sample.image or sample.text or "") + 4 * len(raw.identity) * (
            sample.row is not None
        )
        unlike = raws and (raws[0].split, raws[0].source) != (raw.split, raw.source)
        if batch and (unlike or len(batch) >= per_request or size_bytes + sample_bytes > REQUEST_BYTES_MAX):
            yield raws, batch
            raws, batch, size_bytes = [], [], 0
        raws.append(raw)
        batch.append(sample)
        size_bytes += sample_bytes
    if batch:
        yield raws, batch
