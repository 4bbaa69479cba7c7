"""The slow circle of testing: the champion on every test sample so far. It gates nothing, trains nothing."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import numpy as np
from tidemill_chassis.logs import get_logger
from tidemill_registry.batches import get_objects, quarantine
from tidemill_registry.drift_rows import DriftMeasure, add_drift, newest_tests
from tidemill_registry.records import TestRun
from tidemill_registry.sample_rows import count_for_test, samples_for_test
from tidemill_registry.trigger_rows import Trigger, add_triggers
from tidemill_registry.version_rows import add_test_run, last_test_run

from tidemill_trainer.champion import Champion
from tidemill_trainer.examples import CorruptObject, load_examples
from tidemill_trainer.monitoring.drift import compare
from tidemill_trainer.recipes.recipe import Examples, Targets
from tidemill_trainer.schedule import is_test_due
from tidemill_trainer.workbench import Workbench

log = get_logger(__name__)


def examine_if_due(bench: Workbench, champion: Champion | None) -> TestRun | None:
    """Measure the champion when it is new, or when test samples came and the last run is old enough.

    Drift is measured with it; far enough, it is told of, or wakes a round.

    Raises:
        Interrupted, Conflict, Unavailable: as for a round; nothing was written.
    """
    if champion is None:
        return None
    spec, now = bench.spec, bench.clock()
    with bench.registry.read() as sql:
        last = last_test_run(sql, spec.name)
        count = count_for_test(sql, spec.dataset, spec.labels)
        if not is_test_due(champion.version, count, spec.test, last=last, now=now):
            return None
        rows = samples_for_test(sql, spec.dataset, spec.labels)
        unread = bench.tests.unread(rows)
        objects = get_objects(sql, {row.object for row in unread})
        newest = newest_tests(sql, spec.dataset, limit=spec.drift.window)
    try:
        fresh = load_examples(
            bench.learner, bench.store, unread, objects, step=bench.step, scratch=bench.work
        )
    except CorruptObject as error:
        log.error("object_quarantined", error=error, object=error.name)
        with bench.lease.write() as sql:
            quarantine(sql, error.name, str(error))
        return None
    examples = bench.tests.complete(rows, fresh.inputs, bench.learner.recipe, scratch=bench.work)
    score = bench.learner.recipe.score(champion.weights, examples)
    run = TestRun(spec.name, champion.version, now, len(rows), score.accuracy, score.loss)
    places = np.array([place for place, row in enumerate(rows) if row.sample_id in newest], np.int64)
    drift = _drift(bench, champion, examples.take(places), score.predicted[places], now)
    with bench.lease.write() as sql:
        add_test_run(sql, run)
        add_drift(sql, drift)
        add_triggers(sql, _wake(bench, drift, now))
    log.info(
        "champion_tested", model=spec.name, version=run.version, sample_count=len(rows), **score.measures
    )
    return run


def _drift(
    bench: Workbench, champion: Champion, examples: Examples, predicted: Targets, now: datetime
) -> list[DriftMeasure]:
    """Every index against what the champion's card remembers of its training."""
    spec = bench.spec
    if len(examples) < spec.drift.samples_min or not champion.reference:
        return []
    found = compare(examples.inputs, predicted, spec.labels, champion.reference)
    measures = [
        DriftMeasure(spec.name, champion.version, now, each.subject, each.name[:128], each.psi, len(examples))
        for each in found
    ]
    for each in measures:
        if each.psi > spec.drift.warn_at:
            log.warning(
                "drift", model=spec.name, subject=each.subject, name=each.name, psi=round(each.psi, 4)
            )
    return measures


def _wake(bench: Workbench, drift: Sequence[DriftMeasure], now: datetime) -> list[Trigger]:
    far = [each for each in drift if each.psi > bench.spec.drift.wake_at]
    if not far:
        return []
    worst = max(far, key=lambda each: each.psi)
    key = f"drift/{worst.version}/{now:%Y%m%dT%H%M%SZ}/{worst.subject}/{worst.name}"
    return [Trigger(bench.spec.name, key, "drift", now, urgent=True)]
