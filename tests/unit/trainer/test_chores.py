"""A trainer that is called by somebody else's schedule begins what it is told to, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from tidemill_chassis.lifecycle import Stop
from tidemill_contracts.samples import Sample
from tidemill_trainer.chores import Chore
from tidemill_trainer.main import main
from tidemill_trainer.model_trainer import ModelTrainer

Points = Callable[..., list[Sample]]


def call(world: Any, chore: Chore) -> None:
    """What a schedule's call does: index, begin the chore, leave the model to the next."""
    trainer = world.start()
    trainer._models = [ModelTrainer(world.bench(), frozenset({chore}))]
    while trainer.advance():
        pass
    trainer.release()


def kinds(world: Any) -> list[tuple[str, str]]:
    return [(each.kind, each.status) for each in world.registry.rounds("points")]


def test_each_chore_does_its_own_part_and_leaves_the_others_due(world: Any, points: Points) -> None:
    seen: list[tuple[list[tuple[str, str]], int]] = []

    def look() -> None:
        seen.append((sorted(kinds(world)), len(world.registry.test_runs("points"))))

    world.put(points(60))
    world.put(points(20, seed=9), "test")
    call(world, "retries")
    call(world, "tests")
    look()
    call(world, "rounds")
    look()
    world.recipe.blind = True
    world.put(points(60, seed=1))
    call(world, "rounds")
    look()
    world.pass_time(world.spec.retry.every_s)
    call(world, "rounds")
    call(world, "tests")
    look()
    call(world, "retries")
    look()

    first, second = ("new", "promoted"), ("new", "ignored")
    assert seen == [
        ([], 0),
        ([first], 0),
        ([second, first], 0),
        ([second, first], 1),
        ([second, first, ("retry", "ignored")], 1),
    ]


def test_a_round_that_was_begun_is_finished_by_whatever_is_called_next(world: Any, points: Points) -> None:
    world.put(points(60))
    trainer = world.start()
    world.recipe.train = _stops(world)
    trainer.advance()
    trainer.release()
    begun = kinds(world)
    del world.recipe.train
    world.stop = Stop()

    call(world, "tests")

    assert (begun, kinds(world)) == ([("new", "open")], [("new", "promoted")])


def _stops(world: Any) -> Callable[..., Any]:
    def train(*_: Any, watch: Any, **__: Any) -> Any:
        world.stop.set()
        watch.step()

    return train


def test_only_without_once_is_refused_before_anything_starts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["tidemill-trainer", "--only", "tests"])

    with pytest.raises(SystemExit) as ended:
        main()

    assert ended.value.code == 2
    assert "--only goes with --once" in capsys.readouterr().err
