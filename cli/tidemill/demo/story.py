"""What the demonstration does, in order: test samples, then waves, each followed to its end."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tidemill_contracts.errors import Unavailable

from tidemill.demo.clients import Clients
from tidemill.demo.screen import Screen
from tidemill.ingest_client import IngestClient
from tidemill.observation import Observation, Observer
from tidemill.publishing import publish_all
from tidemill.settling import closed_since
from tidemill.sources.raw_sample import RawSample

WAVES = (400,) * 10
"""Sizes of the waves; what is left after them goes with the last."""
LOOK_EVERY_S = 0.25
WAVE_S_MAX = 150.0


@dataclass
class Story:
    """Publishes to `dataset` and watches until everything has come to rest."""

    dataset: str
    ingest: IngestClient
    observer: Observer
    clients: Clients
    screen: Screen
    published: int = 0

    def tell(self, train: Sequence[RawSample], test: Sequence[RawSample]) -> Observation:
        """Publish everything; return how things stand when all is done.

        Raises:
            Unavailable: a wave did not come to rest within WAVE_S_MAX.
        """
        seen = self._look(None)
        self._publish(test)
        self.screen.say(f"published {len(test):,} test digits: they only ever measure")
        for number, wave in enumerate(cut_waves(train), start=1):
            self._publish(wave)
            self.screen.say(f"wave {number}: published {len(wave):,} digits to learn from")
            seen = self._watch(seen)
        return seen

    def _publish(self, samples: Sequence[RawSample]) -> None:
        for _ in publish_all(self.ingest, self.dataset, samples):
            pass
        self.published += len(samples)

    def _watch(self, before: Observation) -> Observation:
        """Look until nothing is left to do."""
        end_s = time.monotonic() + WAVE_S_MAX
        while True:
            seen = self._look(before)
            read = seen.samples.train + seen.samples.validation + seen.samples.test
            if read == self.published and seen.is_settled:
                return seen
            if time.monotonic() > end_s:
                raise Unavailable(f"the wave did not come to rest within {WAVE_S_MAX:.0f} s; see the logs")
            before = seen
            time.sleep(LOOK_EVERY_S)

    def _look(self, before: Observation | None) -> Observation:
        seen = self.observer.look()
        for line in changes(before, seen):
            self.screen.say(line)
        self.screen.show(self.published, seen, self.clients.answers)
        return seen


def cut_waves(samples: Sequence[RawSample]) -> Iterator[Sequence[RawSample]]:
    """The samples in waves of the sizes in WAVES."""
    start = 0
    for number, size in enumerate(WAVES):
        end = start + size if number + 1 < len(WAVES) else len(samples)
        if samples[start:end]:
            yield samples[start:end]
        start = end


def changes(before: Observation | None, seen: Observation) -> list[str]:
    """What happened between two looks, a line each."""
    if before is None:
        return []
    lines = []
    known = {one.id for one in before.rounds}
    for one in seen.rounds:
        if one.id not in known:
            rehearsed = f" and {one.rehearsal_count:,} older ones" if one.rehearsal_count else ""
            champion = f"champion {one.champion_version}" if one.champion_version else "no champion yet"
            fresh = f"{one.train_count:,} {_kind(one.kind)} samples"
            lines.append(f"round {one.number} opened: {fresh}{rehearsed}; {champion}")
    lines += closed_since(before, seen)
    if seen.labels.stable != before.labels.stable:
        lines.append(f"[green]version {seen.labels.stable} serves[/]")
    for run in seen.test_runs[len(before.test_runs) :]:
        lines.append(
            f"version {run.version} on {run.sample_count:,} test digits: "
            f"accuracy {run.accuracy:.4f}, loss {run.loss:.4f}"
        )
    return lines


def _kind(kind: str) -> str:
    return "ignored" if kind == "retry" else "new"
