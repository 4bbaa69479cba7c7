"""A run is left unwatched only if it cannot last, and is known to end long before its deadline."""

from __future__ import annotations

from types import SimpleNamespace as Made

import numpy as np
import pytest
from tidemill_serving.engine.run_times import RunTimes, is_straight, takes_rows

ROWS = {"x": np.zeros((8, 2), np.float32)}


def graph(*operations, inside=()):
    nodes = [Made(op=each) for each in operations]
    functions = [Made(node_def=[Made(op=each)]) for each in inside]
    return Made(node=nodes, library=Made(function=functions))


def info(*sizes, unknown=False):
    return Made(tensor_shape=Made(unknown_rank=unknown, dim=[Made(size=size) for size in sizes]))


@pytest.mark.parametrize(
    "operation", ["While", "StatelessWhile", "Enter", "EagerPyFunc", "QueueDequeueV2", "IteratorGetNext"]
)
def test_what_repeats_or_waits_may_last_even_within_a_function(operation):
    assert not is_straight(graph("MatMul", operation))
    assert not is_straight(graph("PartitionedCall", inside=["Relu", operation]))


def test_what_runs_once_ends_by_itself():
    assert is_straight(graph("Placeholder", "PartitionedCall", inside=["Conv2D", "Softmax"]))


def test_only_the_number_of_rows_may_be_open():
    assert takes_rows([info(-1, 28, 28, 1), info(-1)])
    assert not takes_rows([info(-1, 28, 28, 1), info(-1, -1)])
    assert not takes_rows([info()])
    assert not takes_rows([info(unknown=True)])


def test_the_first_run_is_watched():
    assert not RunTimes(straight=True).is_far(ROWS, 1e9)


def test_a_run_is_left_alone_far_before_its_deadline_and_watched_near_it():
    times = RunTimes(straight=True)
    times.took(ROWS, 0.008)

    assert times.is_far(ROWS, 1.0)
    assert not times.is_far(ROWS, 0.1)
    assert not times.is_far({"x": np.zeros((80, 2), np.float32)}, 1.0), "ten times the rows"


def test_one_slow_run_is_remembered_for_hundreds_and_not_for_ever():
    times = RunTimes(straight=True)
    times.took(ROWS, 8.0)
    for _ in range(100):
        times.took(ROWS, 0.008)
    assert not times.is_far(ROWS, 30.0)
    for _ in range(10_000):
        times.took(ROWS, 0.008)
    assert times.is_far(ROWS, 30.0)
