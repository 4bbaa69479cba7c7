"""What a round of the same amount of new data costs, the more history lies behind it: CPU and peak memory.

Digits of MNIST, the model of models/digits.yaml, a store of files. Every measured round takes NEW samples;
between two of them history is added that earlier rounds are said to have used, so that only the measured
rounds train. All train the same: EPOCHS epochs, the few that a large round has, for with more of them the
training would hide what grows. The cold control of every tenth round is left out: it would fall on one size
and not on another.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

import pytest
from tidemill.sources.idx import read_idx
from tidemill_chassis.adapters.files import FileStore
from tidemill_chassis.lifecycle import Stop
from tidemill_contracts.bus import Message
from tidemill_contracts.envelope import to_message
from tidemill_contracts.events import SamplesReceived
from tidemill_contracts.layout import batch_name
from tidemill_contracts.memory_bus import MemoryBus
from tidemill_contracts.model_spec import ModelSpec, load_spec
from tidemill_contracts.samples import Sample
from tidemill_contracts.stored_batch import StoredMessage, encode_batch
from tidemill_registry import Registry, migrate
from tidemill_registry.pools import unused_samples
from tidemill_registry.records import RoundRecord
from tidemill_registry.round_rows import change_round, next_number, open_round
from tidemill_registry.uses import settle_samples
from tidemill_trainer.datasets import Learner, datasets_of
from tidemill_trainer.handlers import reconcile
from tidemill_trainer.indexing import index_pending
from tidemill_trainer.lease import LeaseKeeper
from tidemill_trainer.model_trainer import ModelTrainer
from tidemill_trainer.recipes import open_recipe
from tidemill_trainer.workbench import Workbench
from tidemill_trainer.worker import Trainer

MODELS = Path(__file__).parents[3] / "models"
NOON = datetime(2026, 1, 2, 12, 0, tzinfo=UTC)
NEW = 1000
SEEN = (6_000, 14_000, 28_000, 44_000, 60_000)
"""Samples so far, with the measured round's; at the first there is enough to rehearse as the YAML says."""
EPOCHS = 3
SAMPLES_PER_MESSAGE, SAMPLES_PER_OBJECT = 100, 1000
GROWTH_MAX = 1.5
"""Of a round's CPU and of its peak memory, from the first size to the last."""


@dataclass(frozen=True)
class Cost:
    """Of one round. peak_mb: the process's largest while it ran; epochs: what it trained."""

    seen: int
    cpu_s: float
    peak_mb: float
    epochs: int
    validation: int


class Line:
    """A trainer of digits on files."""

    def __init__(self, spec: ModelSpec, folder: Path) -> None:
        url = f"sqlite:///{folder}/registry.db"
        migrate(url)
        self.spec = spec
        self.store = FileStore(folder / "store")
        self.registry = Registry.open(url)
        learner, stop = Learner(spec, open_recipe(spec)), Stop()
        lease = LeaseKeeper(self.registry, f"train/{spec.name}", duration_s=60, clock=_now)
        bench = Workbench(learner, self.registry, self.store, MemoryBus(), lease, _now, stop, folder / "work")
        [self.dataset] = datasets_of([learner]).values()
        self.trainer = Trainer(
            registry=self.registry,
            store=self.store,
            datasets={self.dataset.name: self.dataset},
            models=[ModelTrainer(bench)],
            reconcile_s=0,
            clock=_now,
            stop=stop,
        )

    def put(self, samples: Sequence[Sample]) -> None:
        for start in range(0, len(samples), SAMPLES_PER_OBJECT):
            part = samples[start : start + SAMPLES_PER_OBJECT]
            messages = [
                StoredMessage("persistor", str(at), NOON, message.attributes, message.data)
                for at, message in enumerate(_messages(self.spec.dataset, part))
            ]
            data, digest = encode_batch(messages)
            self.store.put(batch_name(self.spec.dataset, "train", NOON, digest), data)

    def live_through(self, samples: Sequence[Sample]) -> None:
        """These were used by a round that was promoted; only the training is left out."""
        self.put(samples)
        models = {self.dataset.name: [self.spec.name]}
        reconcile(registry=self.registry, store=self.store, now=_now(), models=models)
        while index_pending(self.dataset, registry=self.registry, store=self.store, limit=50, now=_now()):
            pass
        with self.registry.write() as sql:
            found = unused_samples(sql, self.spec.name, self.dataset.name, self.spec.labels, limit=10**6)
            train = [ident for ident, role in found if role == "train"]
            validation = [ident for ident, role in found if role == "validation"]
            number = next_number(sql, self.spec.name)
            round_ = RoundRecord(
                id=f"history-{number}",
                model=self.spec.name,
                number=number,
                kind="new",
                status="open",
                phase="opened",
                epoch=0,
                epochs_max=1,
                starts=1,
                seed=1,
                opened_at=_now(),
                train_count=len(train),
                rehearsal_count=0,
                validation_count=len(validation),
            )
            open_round(sql, round_, self.dataset.name, {"train": train, "validation": validation})
            settle_samples(sql, round_, promoted=True, attempts_max=3)
            change_round(sql, round_.id, status="promoted", phase="closed", closed_at=_now())

    def round(self, samples: Sequence[Sample], seen: int) -> Cost:
        """Put the samples and let the trainer do what is due: index them, one round."""
        self.put(samples)
        _forget_peak()
        began_s = time.process_time()
        while self.trainer.advance():
            pass
        cpu_s = time.process_time() - began_s
        done = self.registry.rounds(self.spec.name)[-1]
        assert done.closed_at is not None
        assert done.train_count <= len(samples)
        return Cost(seen, cpu_s, _peak_mb(), done.epoch, done.validation_count)

    def close(self) -> None:
        self.trainer.release()
        self.registry.close()


@pytest.mark.timeout(1200)
def test_a_rounds_cost_follows_the_new_data_and_not_the_history(
    tmp_path: Path, data_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = load_spec(MODELS / "digits.yaml")
    limits = {"samples_min": NEW // 2, "samples_max": NEW, "age_s_max": 3600.0}
    spec = spec.model_copy(
        update={
            "round": spec.round.model_copy(update=limits),
            "training": spec.training.model_copy(
                update={"epochs_max": EPOCHS, "epochs_warm_max": EPOCHS, "patience": EPOCHS}
            ),
            "gate": spec.gate.model_copy(update={"control_every": 0}),
            "retry": spec.retry.model_copy(update={"every_s": 86400.0}),
        }
    )
    digits, costs = _digits(data_folder), list[Cost]()
    line, seen = Line(spec, tmp_path), NEW
    try:
        line.round(list(islice(digits, NEW)), seen)
        for size in SEEN:
            line.live_through(list(islice(digits, size - NEW - seen)))
            costs.append(line.round(list(islice(digits, NEW)), size))
            seen = size
            with capsys.disabled():
                _tell(costs)
    finally:
        line.close()

    first, last = costs[0], costs[-1]
    assert {each.epochs for each in costs} == {EPOCHS}
    assert last.cpu_s <= GROWTH_MAX * first.cpu_s
    assert last.peak_mb <= GROWTH_MAX * first.peak_mb


def _tell(costs: Sequence[Cost]) -> None:
    """The newest line, at once: a run that is stopped has told what it found."""
    if len(costs) == 1:
        print(f"\na round of {NEW:,} new digits, {EPOCHS} epochs")
        print("   seen  validation  CPU-s  of the first  peak MB")
    each, ratio = costs[-1], costs[-1].cpu_s / costs[0].cpu_s
    print(
        f"{each.seen:7,d}  {each.validation:10,d}  {each.cpu_s:5.1f}  {ratio:12.2f}  {each.peak_mb:7.0f}"
        f"  {'█' * round(20 * ratio)}",
        flush=True,
    )


def _digits(folder: Path) -> Iterator[Sample]:
    for raw in read_idx(folder / "mnist", "train"):
        yield Sample(label=raw.label, image=base64.b64encode(raw.image or b"").decode())


def _messages(dataset: str, samples: Sequence[Sample]) -> Iterator[Message]:
    for start in range(0, len(samples), SAMPLES_PER_MESSAGE):
        some = tuple(samples[start : start + SAMPLES_PER_MESSAGE])
        yield to_message(
            SamplesReceived(dataset=dataset, split="train", source="bench", samples=some), source="bench"
        )


def _now() -> datetime:
    return datetime.now(UTC)


def _forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def _peak_mb() -> float:
    """Since `_forget_peak`, of this process (proc(5), VmHWM)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    [kilobytes] = [int(line.split()[1]) for line in lines if line.startswith("VmHWM")]
    return kilobytes / 1024
