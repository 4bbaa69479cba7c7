"""The trainer's way in: hears of batches, indexes them, and lets every model take its next step."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from tidemill_chassis.lifecycle import Stop
from tidemill_contracts.bus import Delivery
from tidemill_contracts.objects import ObjectStore
from tidemill_registry import Registry

from tidemill_trainer.datasets import Dataset
from tidemill_trainer.handlers import reconcile, register_batch
from tidemill_trainer.indexing import index_pending
from tidemill_trainer.model_trainer import ModelTrainer
from tidemill_trainer.monitoring.doubts import Sides, answer_relabels
from tidemill_trainer.workbench import Interrupted

TOPIC = "batches"
SUBSCRIPTION = "trainer"
OBJECTS_AT_ONCE = 50
"""Objects indexed between two looks at `stop`."""


class Trainer:
    """`handle` for every delivery, `idle` after every pull; both on the main thread.

    Batches that arrive while a round runs wait in the bus. Reconciling at the start, and then every
    `reconcile_s`, finds what no event told of.
    """

    def __init__(
        self,
        *,
        registry: Registry,
        store: ObjectStore,
        datasets: Mapping[str, Dataset],
        models: Sequence[ModelTrainer],
        reconcile_s: float,
        clock: Callable[[], datetime],
        stop: Stop,
    ) -> None:
        self._registry = registry
        self._store = store
        self._datasets = datasets
        self._models = models
        self._reconcile_s = reconcile_s
        self._clock = clock
        self._stop = stop
        self._reconciled_s: float | None = None
        self._sides = Sides()
        self._models_of = {
            name: [learner.spec.name for learner in dataset.learners] for name, dataset in datasets.items()
        }

    def handle(self, delivery: Delivery) -> None:
        """Note the batch of a delivery; raises as `register_batch` does."""
        register_batch(delivery, registry=self._registry, now=self._clock(), models=self._models_of)

    def idle(self) -> None:
        """`advance`, for a loop that calls again anyhow."""
        self.advance()

    def advance(self) -> bool:
        """Reconcile if it is time, index what waits, then one step for every model; say if any did something.

        Raises:
            Unavailable: something did not answer; call again.
        """
        self._reconcile_if_due()
        for dataset in self._datasets.values():
            answer_relabels(dataset, self._registry, now=self._clock())
            self._index(dataset)
        advanced = False
        for model in self._models:
            if self._stop.is_set():
                break
            try:
                advanced = model.advance() or advanced
            except Interrupted:
                break
        return advanced

    def release(self) -> None:
        """Leave every model to another trainer."""
        for model in self._models:
            model.release()

    def _reconcile_if_due(self) -> None:
        now_s = time.monotonic()
        if self._reconciled_s is None or now_s - self._reconciled_s >= self._reconcile_s:
            reconcile(registry=self._registry, store=self._store, now=self._clock(), models=self._models_of)
            self._reconciled_s = time.monotonic()

    def _index(self, dataset: Dataset) -> None:
        while not self._stop.is_set():
            count = index_pending(
                dataset,
                registry=self._registry,
                store=self._store,
                limit=OBJECTS_AT_ONCE,
                now=self._clock(),
                sides=self._sides,
            )
            if count < OBJECTS_AT_ONCE:
                return
