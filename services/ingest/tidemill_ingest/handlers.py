"""What ingest does with samples: prepare all, publish all, then say so."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from tidemill_contracts.bus import Bus
from tidemill_contracts.events import SamplesReceived
from tidemill_contracts.samples import Sample

from tidemill_ingest import measures
from tidemill_ingest.catalog import Catalog
from tidemill_ingest.packing import Origin, pack
from tidemill_ingest.preparing import Preparer


@dataclass(frozen=True)
class Accepted:
    """What the broker has. ids: of the samples, in the request's order. messages: the broker's own ids."""

    ids: list[str]
    messages: list[str]
    warnings: list[str]


class Intake:
    """Takes samples in for all of a process's doors."""

    def __init__(self, bus: Bus, catalog: Catalog, preparer: Preparer, samples_per_message: int) -> None:
        self._bus = bus
        self._catalog = catalog
        self._preparer = preparer
        self._samples_per_message = samples_per_message

    def accept(self, received: SamplesReceived, places: Sequence[str] | None = None) -> Accepted:
        """Publish every sample, or none.

        places: what each is called in errors; without them ``samples[0]`` and so on.

        Raises:
            InvalidInput: a sample is not taken; nothing was published.
            Unavailable, Overloaded: the bus did not take them all. Send the same again: ids are made from
                content, so what did arrive is counted once.
        """
        origin = Origin(received.dataset, received.split, received.source)
        expected = self._catalog.of(received.dataset)
        seen: Counter[bytes] = Counter()
        prepared = [
            self._preparer.prepare(
                sample,
                expected,
                source=received.source,
                seen=seen,
                field=places[index] if places else f"samples[{index}]",
            )
            for index, sample in enumerate(received.samples)
        ]
        messages = self.publish(origin, prepared)
        return Accepted(
            ids=[sample.id or "" for sample in prepared],
            messages=messages,
            warnings=self._catalog.warnings(received.dataset),
        )

    def prepare_one(self, origin: Origin, sample: Sample, field: str) -> Sample:
        """One sample by itself, as `accept` would; raises as it does."""
        expected = self._catalog.of(origin.dataset)
        return self._preparer.prepare(sample, expected, source=origin.source, seen=Counter(), field=field)

    def publish(self, origin: Origin, prepared: list[Sample]) -> list[str]:
        """Message ids, once the broker has all the samples; raises as `accept` does."""
        ids = self._bus.publish(SamplesReceived.topic, pack(origin, prepared, self._samples_per_message))
        measures.SAMPLES.labels(self._catalog.name(origin.dataset), origin.split).inc(len(prepared))
        measures.MESSAGES.inc(len(ids))
        return ids
