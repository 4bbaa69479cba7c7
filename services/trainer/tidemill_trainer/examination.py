"""The slow circle of testing: the champion on every test sample so far. It gates nothing, trains nothing."""

from __future__ import annotations

from tidemill_chassis.logs import get_logger
from tidemill_registry.batches import get_objects, quarantine
from tidemill_registry.records import TestRun
from tidemill_registry.sample_rows import count_for_test, samples_for_test
from tidemill_registry.version_rows import add_test_run, last_test_run

from tidemill_trainer.champion import Champion
from tidemill_trainer.examples import CorruptObject, load_examples
from tidemill_trainer.schedule import is_test_due
from tidemill_trainer.workbench import Workbench

log = get_logger(__name__)


def examine_if_due(bench: Workbench, champion: Champion | None) -> TestRun | None:
    """Measure the champion when it is new, or when test samples came and the last run is old enough.

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
        objects = get_objects(sql, {row.object for row in rows})
    try:
        examples = load_examples(
            bench.learner, bench.store, rows, objects, step=bench.step, scratch=bench.work
        )
    except CorruptObject as error:
        log.error("object_quarantined", error=error, object=error.name)
        with bench.lease.write() as sql:
            quarantine(sql, error.name, str(error))
        return None
    score = bench.learner.recipe.score(champion.weights, examples)
    run = TestRun(spec.name, champion.version, now, len(rows), score.accuracy, score.loss)
    with bench.lease.write() as sql:
        add_test_run(sql, run)
    log.info(
        "champion_tested", model=spec.name, version=run.version, sample_count=len(rows), **score.measures
    )
    return run
