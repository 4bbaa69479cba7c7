"""Starts the trainer. The only place that names concrete adapters."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from tidemill_chassis import lifecycle, logs, retry
from tidemill_chassis.adapters import open_bus, open_store, open_token_verifier
from tidemill_chassis.health import HealthServer
from tidemill_contracts.bus import Bus
from tidemill_contracts.errors import InvalidInput, TidemillError, Unavailable
from tidemill_contracts.model_spec import load_specs
from tidemill_contracts.objects import ObjectStore
from tidemill_registry import Registry, migrate

from tidemill_trainer import ways
from tidemill_trainer.chores import ALL, CHORES, Chore
from tidemill_trainer.datasets import Learner, datasets_of
from tidemill_trainer.launchers.addresses import open_launcher
from tidemill_trainer.launchers.launcher import LaunchedRecipe
from tidemill_trainer.lease import LeaseKeeper
from tidemill_trainer.model_trainer import ModelTrainer
from tidemill_trainer.publishing.promotion import SCRATCH_PREFIX
from tidemill_trainer.recipes import open_recipe
from tidemill_trainer.reproduction import reproduce
from tidemill_trainer.settings import Settings, from_env
from tidemill_trainer.workbench import Workbench
from tidemill_trainer.worker import SUBSCRIPTION, TOPIC, Trainer

START_ATTEMPTS_MAX = 10
JOBS = "jobs"
"""Below the scratch folder: what trainings in other processes read and write."""

log = logs.get_logger(__name__)


def main() -> None:
    """Train until SIGTERM. Exit code 2: a setting is wrong. 1: a neighbour did not answer at the start."""
    parser = argparse.ArgumentParser(prog="tidemill-trainer", description="Trains on what is new.")
    parser.add_argument("--once", action="store_true", help="do everything that is due now, then end")
    parser.add_argument(
        "--only", choices=CHORES, help="with --once: begin nothing else; a round that was begun is finished"
    )
    parser.add_argument("--reproduce", metavar="ROUND", help="repeat a round, compare, write nothing, end")
    arguments = parser.parse_args()
    once = bool(arguments.once)
    if arguments.only and not once:
        parser.error("--only goes with --once: a trainer that stays does all that is due")
    chores: frozenset[Chore] = frozenset({arguments.only}) if arguments.only else ALL
    try:
        settings = from_env(os.environ)
        if arguments.reproduce:
            sys.exit(_reproduce(settings, arguments.reproduce))
        logs.configure("trainer", settings.log_level)
        run(settings, once=once, chores=chores)
    except (InvalidInput, ValueError) as error:
        print(f"tidemill-trainer: {error}", file=sys.stderr)  # noqa: T201  (logs may not be configured)
        sys.exit(2)
    except Unavailable as error:
        log.error("start_failed", error=error)
        sys.exit(1)


def run(settings: Settings, *, once: bool = False, chores: frozenset[Chore] = ALL) -> None:
    """Compose the trainer and work until a signal, or once.

    Raises:
        InvalidInput: a setting or a model's YAML is wrong.
        Unavailable: a neighbour did not answer at the start, tried START_ATTEMPTS_MAX times.
    """
    stop = lifecycle.stop_on_signals()
    readiness = Readiness()
    with HealthServer(settings.health, readiness.check):
        specs = load_specs(settings.models)
        bus, store = open_bus(settings.bus), open_store(settings.store)

        def migrated() -> Registry:
            migrate(settings.database)
            return Registry.open(settings.database)

        registry = retry.call(migrated, attempts_max=START_ATTEMPTS_MAX, sleep=stop.wait)
        _clear(settings.work)
        launcher = open_launcher(settings.launcher, settings.work / JOBS)
        learners = [
            Learner(spec, LaunchedRecipe(spec, open_recipe(spec), launcher)) for spec in specs.values()
        ]
        models = [
            ModelTrainer(_bench(each, settings, registry, store, bus, stop), chores) for each in learners
        ]
        trainer = Trainer(
            registry=registry,
            store=store,
            datasets=datasets_of(learners),
            models=models,
            reconcile_s=settings.reconcile_s,
            clock=_now,
            stop=stop,
        )
        work = _way_in(settings, bus, stop, readiness, once=once)
        readiness.checks = {"bus": bus.ping, "store": store.ping, "database": registry.ping}
        log.info("trainer_started", models=sorted(specs))
        try:
            work(trainer)
        finally:
            trainer.release()
            registry.close()
            bus.close()
            log.info("trainer_stopped")


def _way_in(
    settings: Settings, bus: Bus, stop: lifecycle.Stop, readiness: Readiness, *, once: bool
) -> Callable[[Trainer], None]:
    """How the trainer will work, as the settings and the command line say; raises as `run` does."""
    push = settings.push
    if push is not None and not once:
        verify = open_token_verifier(push)
        return lambda trainer: ways.run_pushed(
            trainer, bus, stop, bind=push.bind, ready=readiness.check, verify=verify
        )
    subscription = retry.call(
        lambda: bus.subscribe(TOPIC, SUBSCRIPTION), attempts_max=START_ATTEMPTS_MAX, sleep=stop.wait
    )
    pull = ways.run_once if once else ways.run_pulling
    return lambda trainer: pull(trainer, subscription, stop)


def _reproduce(settings: Settings, round_id: str) -> int:
    """Print how the round came out again, as JSON. 0: the same to the bit; 3: another; 1: not at all."""
    logs.configure("trainer", "warning")
    registry = Registry.open(settings.database)
    try:
        found = reproduce(round_id, registry=registry, store=open_store(settings.store))
    except TidemillError as error:
        print(f"tidemill-trainer: {error}", file=sys.stderr)  # noqa: T201
        return 1
    finally:
        registry.close()
    same = {"same_decision": found.same_decision, "same_weights": found.same_weights}
    print(json.dumps({**asdict(found), **same}))  # noqa: T201
    return 0 if all(same.values()) else 3


class Readiness:
    """Not ready until TensorFlow and the recipes are loaded; then as ready as the neighbours are."""

    def __init__(self) -> None:
        self.checks: Mapping[str, Callable[[], None]] | None = None

    def check(self) -> None:
        if self.checks is None:
            raise Unavailable("the trainer is starting: TensorFlow is being loaded")
        for check in self.checks.values():
            check()


def _bench(
    learner: Learner,
    settings: Settings,
    registry: Registry,
    store: ObjectStore,
    bus: Bus,
    stop: lifecycle.Stop,
) -> Workbench:
    name = f"train/{learner.spec.name}"
    return Workbench(
        learner=learner,
        registry=registry,
        store=store,
        bus=bus,
        lease=LeaseKeeper(registry, name, duration_s=settings.lease_s, clock=_now),
        clock=_now,
        stop=stop,
        work=settings.work,
    )


def _clear(work: Path) -> None:
    """Remove what rounds of a trainer that died left behind."""
    for left in work.glob(f"{SCRATCH_PREFIX}*"):
        shutil.rmtree(left, ignore_errors=True)


def _now() -> datetime:
    return datetime.now(UTC)


if __name__ == "__main__":
    main()
