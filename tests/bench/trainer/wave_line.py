"""A trainer without a bus, to which samples come in waves an hour apart, by a clock of its own."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tidemill_chassis.lifecycle import Stop
from tidemill_contracts.events import SamplesReceived
from tidemill_contracts.layout import batch_name
from tidemill_contracts.memory_bus import MemoryBus
from tidemill_contracts.memory_objects import MemoryStore
from tidemill_contracts.model_spec import ModelSpec
from tidemill_contracts.samples import Sample, Split
from tidemill_contracts.stored_batch import StoredMessage, encode_batch
from tidemill_registry import Registry, migrate
from tidemill_trainer.datasets import Learner, datasets_of
from tidemill_trainer.lease import LeaseKeeper
from tidemill_trainer.model_trainer import ModelTrainer
from tidemill_trainer.recipes import open_recipe
from tidemill_trainer.workbench import Workbench
from tidemill_trainer.worker import Trainer

from tests.bench.trainer.waves import Wave, word

NOON = datetime(2026, 1, 2, 12, 0, tzinfo=UTC)
BETWEEN_S = 3600
STEPS_MAX = 12
SAMPLES_PER_MESSAGE = 500


class WaveLine:
    """Registry and store are its own; what a wave does not depend on how fast the machine is."""

    def __init__(self, spec: ModelSpec, folder: Path, test: Sequence[Sample]) -> None:
        url = f"sqlite:///{folder}/registry.db"
        folder.mkdir(parents=True, exist_ok=True)
        migrate(url)
        self.spec, self.registry, self._store = spec, Registry.open(url), MemoryStore()
        self._now, self._seen = NOON, 0
        learner, stop = Learner(spec, open_recipe(spec)), Stop()
        lease = LeaseKeeper(self.registry, f"train/{spec.name}", duration_s=60, clock=self._clock)
        bench = Workbench(
            learner, self.registry, self._store, MemoryBus(), lease, self._clock, stop, folder / "work"
        )
        self._trainer = Trainer(
            registry=self.registry,
            store=self._store,
            datasets=datasets_of([learner]),
            models=[ModelTrainer(bench)],
            reconcile_s=0,
            clock=self._clock,
            stop=stop,
        )
        self._put(test, "test")

    def feed(self, samples: Sequence[Sample]) -> Wave:
        """Let the samples come; return when nothing is due any more."""
        self._put(samples, "train")
        self._seen += len(samples)
        self._now += timedelta(seconds=BETWEEN_S)
        before = len(self.registry.rounds(self.spec.name))
        _forget_peak()
        began_s = time.process_time()
        for _ in range(STEPS_MAX):
            if not self._trainer.advance():
                break
        cpu_s = time.process_time() - began_s
        runs = self.registry.test_runs(self.spec.name)
        rounds = sorted(self.registry.rounds(self.spec.name), key=lambda each: each.number)[before:]
        accuracy = runs[-1].accuracy if runs else 0.0
        return Wave(self._seen, accuracy, cpu_s, peak_mb(), tuple(word(each) for each in rounds))

    def close(self) -> None:
        self._trainer.release()
        self.registry.close()

    def _clock(self) -> datetime:
        return self._now

    def _put(self, samples: Sequence[Sample], split: Split) -> None:
        messages = []
        for start in range(0, len(samples), SAMPLES_PER_MESSAGE):
            some = tuple(samples[start : start + SAMPLES_PER_MESSAGE])
            event = SamplesReceived(dataset=self.spec.dataset, split=split, source="bench", samples=some)
            data = event.model_dump_json(exclude_none=True).encode()
            messages.append(StoredMessage("persistor", str(start), NOON, {}, data))
        encoded, digest = encode_batch(messages)
        self._store.put(batch_name(self.spec.dataset, split, NOON, digest), encoded)


def peak_mb() -> float:
    """The largest resident size of this process since `_forget_peak`."""
    for line in Path("/proc/self/status").read_text("ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("/proc/self/status has no VmHWM: this bench wants Linux")


def _forget_peak() -> None:
    """proc(5), clear_refs: 5 sets the peak to what is resident now."""
    Path("/proc/self/clear_refs").write_text("5", "ascii")
