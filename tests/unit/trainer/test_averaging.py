"""Averages of a network's weights."""

from __future__ import annotations

import numpy as np
from tidemill_trainer.recipes.averaging import Average, between


def averaged(values: list[float]) -> Average:
    average = Average()
    for value in values:
        average.add([np.array([value], np.float32), np.array([int(value)])])
    return average


def test_weights_that_stand_still_are_their_own_average() -> None:
    average = averaged([0.1] * 100)

    assert average.weights[0].tolist() == [np.float32(0.1)]
    assert average.weights[0].dtype == np.float32


def test_the_beginning_is_forgotten_and_the_newest_counts_most() -> None:
    early, late = averaged([100.0, *[0.0] * 40]), averaged([*[0.0] * 40, 100.0])

    assert early.weights[0][0] < 0.01
    assert 5 < late.weights[0][0] < 15


def test_what_swings_is_steadied() -> None:
    average = averaged([1.0, -1.0] * 100)

    assert abs(average.weights[0][0]) < 0.05


def test_whole_numbers_are_not_averaged() -> None:
    average = averaged([1.0, 4.0])

    assert average.weights[1].tolist() == [4]
    assert average.weights[1].dtype == np.int64


def test_an_average_that_was_kept_goes_on_as_if_nothing_had_been() -> None:
    straight, halted = averaged([1.0, 2.0, 5.0]), averaged([1.0, 2.0])
    resumed = Average()
    resumed.restore(halted.state())
    resumed.add([np.array([5.0], np.float32), np.array([5])])

    assert all(np.array_equal(a, b) for a, b in zip(resumed.weights, straight.weights, strict=True))


def test_between_two_weights_lies_a_share_of_the_way_back() -> None:
    start, end = [np.array([0.0], np.float32), np.array([1])], [np.array([4.0], np.float32), np.array([2])]

    found = between(start, end, 0.25)

    assert found[0].tolist() == [3.0]
    assert found[0].dtype == np.float32
    assert found[1].tolist() == [2]
