"""The cold control: trained beside the warm start now and then, and given up when it cannot win."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from tidemill_contracts.samples import Sample
from tidemill_registry.decision_rows import read_decisions
from tidemill_trainer.control import BEHIND_MAX, Beaten, ControlWatch
from tidemill_trainer.recipes.recipe import Score, State
from tidemill_trainer.reproduction import reproduce

Points = Callable[..., list[Sample]]


def score(loss: float) -> Score:
    return Score(np.ones(1), np.full(1, loss), np.zeros(1, np.int64))


class Heard:
    """What a watch was told."""

    def __init__(self) -> None:
        self.epochs: list[int] = []

    def step(self) -> None:
        pass

    def epoch(self, number: int, tuning: Score, *, train_loss: float) -> None:
        self.epochs.append(number)

    def keep(self, state: State) -> None:
        pass

    def kept(self) -> State | None:
        return None


@pytest.mark.parametrize("last", range(1, len(BEHIND_MAX) + 2))
def test_a_control_may_be_the_further_behind_the_fewer_epochs_it_had(last: int) -> None:
    heard = Heard()
    watch = ControlWatch(heard, warm=score(0.1))
    allowed = [*BEHIND_MAX, BEHIND_MAX[-1]]
    for number in range(1, last):
        watch.epoch(number, score(0.1 * allowed[number - 1] - 0.001), train_loss=0.0)

    with pytest.raises(Beaten) as beaten:
        watch.epoch(last, score(0.1 * allowed[last - 1] + 0.001), train_loss=0.0)

    assert beaten.value.score.loss == pytest.approx(0.1 * allowed[last - 1] + 0.001)
    assert heard.epochs == list(range(1, last + 1))


def test_a_control_that_is_close_runs_to_its_end() -> None:
    heard = Heard()
    watch = ControlWatch(heard, warm=score(0.1))

    for number in range(1, 20):
        watch.epoch(number, score(0.1 * BEHIND_MAX[-1] - 0.001), train_loss=0.0)

    assert heard.epochs == list(range(1, 20))


def test_one_label_of_which_a_control_is_surely_wrong_does_not_end_it() -> None:
    losses = np.full(100, 0.1)
    losses[0] = 30.0
    cold = Score(np.ones(100), losses, np.zeros(100, np.int64))
    watch = ControlWatch(Heard(), warm=score(0.1))

    watch.epoch(9, cold, train_loss=0.0)

    assert cold.loss > 3 * 0.1


def test_a_round_whose_control_is_given_up_publishes_the_warm_one_and_can_be_repeated(
    make_world: Any, points: Points
) -> None:
    world = make_world(
        gate={"gain_min": 0, "significance": 1, "control_every": 2}, training={"epochs_max": 60}
    )
    train = world.recipe.train
    calls: list[bool] = []

    def cold_ones_learn_nothing(start: Any, *arguments: Any, **options: Any) -> Any:
        world.recipe.blind = start is None and len(calls) > 0
        calls.append(start is None)
        return train(start, *arguments, **options)

    world.recipe.train = cold_ones_learn_nothing
    trainer = world.start()
    for number in range(2):
        world.put(points(100, seed=number))
        trainer.idle()

    second = world.registry.rounds("points")[1]
    with world.registry.read() as sql:
        told = read_decisions(sql, "points")[second.id].numbers["control"]
    assert (told["better"], told["beaten"]) == ("warm", True)
    assert calls == [True, False, True]
    again = reproduce(second.id, registry=world.registry, store=world.store, learner=world.learner)
    assert again.same_decision
    assert again.same_weights
