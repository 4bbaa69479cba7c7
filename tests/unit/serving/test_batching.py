"""Requests share runs of the graph and notice nothing of it."""

from __future__ import annotations

import threading
from time import monotonic

import numpy as np
import pytest
from tidemill_serving.engine.batching import BatchingServable
from tidemill_serving.engine.server_files import BatchingParameters
from tidemill_serving.engine.status import Code, StatusError, invalid_argument


class Doubler:
    """Doubles x; remembers the rows of each run; can be held at a gate; refuses negative numbers."""

    def __init__(self):
        self.signatures = {}
        self.runs = []
        self.deadlines = []
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Semaphore(0)

    def run(self, signature_name, inputs, outputs, *, deadline_s=None):
        self.deadlines.append(deadline_s)
        self.runs.append(len(inputs["x"]))
        self.entered.release()
        assert self.gate.wait(10)
        if (inputs["x"] < 0).any():
            raise invalid_argument("negative")
        return [inputs["x"] * 2 for _ in outputs]

    def close(self):
        pass


class Caller(threading.Thread):
    def __init__(self, servable, *values, deadline_s=None):
        super().__init__()
        self.deadline_s = deadline_s
        self.servable, self.values, self.answer, self.error = servable, values, None, None
        self.start()

    def run(self):
        try:
            rows = {"x": np.array(self.values, np.float32)}
            (out,) = self.servable.run("s", rows, ["y"], deadline_s=self.deadline_s)
            self.answer = out.tolist()
        except StatusError as error:
            self.error = error


def held(**limits):
    """A servable with one run held at the gate, so that what comes next must gather."""
    inner = Doubler()
    servable = BatchingServable(inner, BatchingParameters(**{"threads": 1, **limits}))
    inner.gate.clear()
    first = Caller(servable, 0)
    assert inner.entered.acquire(timeout=10)
    return inner, servable, first


def gathered(servable, rows, wait_for):
    wait_for(lambda: sum(lane.rows for lane in servable._lanes.values()) == rows)


def test_alone_a_request_runs_at_once():
    inner = Doubler()

    (out,) = BatchingServable(inner, BatchingParameters()).run("s", {"x": np.array([1.0])}, ["y"])

    assert out.tolist() == [2.0]
    assert inner.runs == [1]


def test_requests_that_come_during_a_run_share_the_next(wait_for):
    inner, servable, first = held()
    callers = [Caller(servable, number, number + 0.5) for number in range(1, 5)]
    gathered(servable, 8, wait_for)

    inner.gate.set()
    for caller in (first, *callers):
        caller.join(10)

    assert [caller.answer for caller in callers] == [[2.0 * n, 2.0 * n + 1] for n in range(1, 5)]
    assert inner.runs == [1, 8]


def test_a_bad_row_fails_its_own_request_only(wait_for):
    inner, servable, first = held()
    good, bad, other = Caller(servable, 1), Caller(servable, -1), Caller(servable, 2)
    gathered(servable, 3, wait_for)

    inner.gate.set()
    for caller in (first, good, bad, other):
        caller.join(10)

    assert (good.answer, other.answer) == ([2.0], [4.0])
    assert bad.error is not None
    assert bad.error.message == "negative"


def test_unlike_shapes_never_share(wait_for):
    inner, servable, first = held()
    flat, pair = Caller(servable, 1), Caller(servable, [1, 2])
    wait_for(lambda: len(inner.runs) == 2)

    inner.gate.set()
    for caller in (first, flat, pair):
        caller.join(10)

    assert (flat.answer, pair.answer) == ([2.0], [[2.0, 4.0]])


def test_a_full_line_turns_callers_away(wait_for):
    inner, servable, first = held(batch_size_max=2, batches_max=1)
    waiting = Caller(servable, 1, 2)
    gathered(servable, 2, wait_for)

    turned_away = Caller(servable, 3)
    turned_away.join(10)
    inner.gate.set()
    first.join(10)
    waiting.join(10)

    assert turned_away.error is not None
    assert turned_away.error.code is Code.UNAVAILABLE
    assert waiting.answer == [2.0, 4.0]


def test_a_request_larger_than_a_batch_is_refused_or_split():
    rows = {"x": np.arange(5.0)}
    inner = Doubler()

    with pytest.raises(StatusError, match="Task size 5 is larger than maximum input batch size 2"):
        BatchingServable(inner, BatchingParameters(batch_size_max=2)).run("s", rows, ["y"])
    (out,) = BatchingServable(inner, BatchingParameters(batch_size_max=2, split=True)).run("s", rows, ["y"])

    assert out.tolist() == [0.0, 2.0, 4.0, 6.0, 8.0]
    assert inner.runs == [2, 2, 1]


def test_batches_are_padded_to_an_allowed_size():
    inner = Doubler()
    servable = BatchingServable(inner, BatchingParameters(batch_size_max=8, allowed_sizes=(4, 8)))

    (out,) = servable.run("s", {"x": np.arange(3.0)}, ["y"])

    assert out.tolist() == [0.0, 2.0, 4.0]
    assert inner.runs == [4]


@pytest.mark.parametrize(
    "inputs", [{"x": np.float32(1)}, {"x": np.zeros(2, np.float32), "z": np.zeros(3, np.float32)}]
)
def test_inputs_without_common_rows_are_refused(inputs):
    arrays = {alias: np.asarray(value) for alias, value in inputs.items()}

    with pytest.raises(StatusError, match="Batching session"):
        BatchingServable(Doubler(), BatchingParameters()).run("s", arrays, ["y"])


def test_many_threads_get_their_own_answers():
    servable = BatchingServable(
        Doubler(), BatchingParameters(batch_size_max=8, wait_s_max=0.001, threads=2, batches_max=100)
    )
    callers = [Caller(servable, number) for number in range(200)]
    for caller in callers:
        caller.join(20)

    assert [caller.answer for caller in callers] == [[2.0 * number] for number in range(200)]
    assert servable._lanes == {}


def test_who_waits_past_the_deadline_is_told_and_never_runs():
    inner, servable, first = held()
    late = Caller(servable, 5, deadline_s=monotonic() + 0.05)
    late.join(10)

    inner.gate.set()
    first.join(10)
    after = Caller(servable, 7)
    after.join(10)

    assert late.error is not None
    assert late.error.code is Code.DEADLINE_EXCEEDED
    assert inner.runs == [1, 1]
    assert after.answer == [14.0]


def test_a_deadline_that_has_passed_begins_nothing():
    inner = Doubler()
    servable = BatchingServable(inner, BatchingParameters(threads=1))

    caller = Caller(servable, 5, deadline_s=monotonic() - 1)
    caller.join(10)

    assert caller.error is not None
    assert caller.error.code is Code.DEADLINE_EXCEEDED
    assert inner.runs == []


def test_a_shared_run_lasts_as_long_as_its_most_patient_member(wait_for):
    inner, servable, first = held()
    soon, later = monotonic() + 60, monotonic() + 90
    mates = [Caller(servable, 1, deadline_s=soon), Caller(servable, 2, deadline_s=later)]
    gathered(servable, 2, wait_for)

    inner.gate.set()
    for caller in (first, *mates):
        caller.join(10)

    assert inner.deadlines == [None, later]


def test_one_member_without_a_deadline_lets_the_run_take_its_time(wait_for):
    inner, servable, first = held()
    mates = [Caller(servable, 1, deadline_s=monotonic() + 60), Caller(servable, 2)]
    gathered(servable, 2, wait_for)

    inner.gate.set()
    for caller in (first, *mates):
        caller.join(10)

    assert inner.deadlines == [None, None]
