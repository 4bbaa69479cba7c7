"""Drift: found where it is, not where it is not; told per feature and class; able to wake a round."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from tidemill_contracts.samples import Sample
from tidemill_registry.drift_rows import list_drift
from tidemill_trainer.monitoring.drift import compare, describe, measure, psi, reference

Points = Callable[..., list[Sample]]
RANDOM = np.random.default_rng(0)


def test_the_index_is_nothing_for_the_same_shares_and_as_the_formula_says_else() -> None:
    half = np.array([0.5, 0.5])

    assert psi(half, half) == 0
    assert psi(np.array([0.6, 0.4]), half) == pytest.approx(0.1 * np.log(1.2) - 0.1 * np.log(0.8))


def test_samples_of_the_same_population_do_not_drift_and_others_do() -> None:
    then = describe(RANDOM.normal(0, 1, 2000))

    assert measure(RANDOM.normal(0, 1, 1000), then) < 0.1
    assert measure(RANDOM.normal(1, 1, 1000), then) > 0.5
    assert measure(np.full(100, np.nan), then) > 0.5


def test_categories_that_nobody_knew_are_drift() -> None:
    then = describe(np.array(["a", "b"] * 50))

    assert measure(np.array(["a", "b"] * 20), then) == pytest.approx(0)
    assert measure(np.array(["a", "c"] * 20), then) > 1


def test_darker_images_and_other_predictions_are_told_apart_by_name() -> None:
    images = RANDOM.integers(0, 256, (300, 8, 8, 1)).astype(np.uint8)
    predicted = np.arange(300) % 2
    then = reference(images, predicted, ("even", "odd"))

    found = {
        (each.subject, each.name): each.psi
        for each in compare(images // 2, predicted * 0, ("even", "odd"), then)
    }

    assert found["inputs", "brightness"] > 1
    assert found["predictions", "all"] > 1
    assert found["predictions", "odd"] > found["predictions", "even"] > 0
    same = compare(images, predicted, ("even", "odd"), then)
    assert max(each.psi for each in same) < 0.01


def test_rows_are_watched_column_by_column_and_texts_by_length() -> None:
    rows = np.array([(1.0, b"a"), (2.0, b"b")] * 20, dtype=[("size", "f8"), ("kind", "S1")])
    texts = np.array([b"one two", b"three"] * 20, dtype=object)

    assert set(reference(rows, np.zeros(40, np.int64), ("x",))["inputs"]) == {"size", "kind"}
    assert set(reference(texts, np.zeros(40, np.int64), ("x",))["inputs"]) == {"bytes", "words"}


def test_far_drift_of_test_samples_is_written_down_and_wakes_a_round_early(
    make_world: Any, points: Points
) -> None:
    world = make_world(drift={"samples_min": 50, "wake_at": 1.0})
    world.put(points(100))
    trainer = world.start()
    trainer.idle()
    world.put(points(100, seed=2), "test")
    trainer.idle()
    with world.registry.read() as sql:
        calm = [each for each in list_drift(sql, "points") if each.subject == "inputs"]
    moved = [
        sample.model_copy(update={"row": {"x": float((sample.row or {})["x"]) + 9, "y": 0.0}})  # type: ignore[arg-type]
        for sample in points(100, seed=3)
    ]
    world.put(moved, "test")
    world.put(points(10, seed=4))
    world.pass_time(51)

    trainer.idle()
    trainer.idle()

    with world.registry.read() as sql:
        last = {each.name: each.psi for each in list_drift(sql, "points")[-6:]}
    assert max(each.psi for each in calm) < 0.6
    assert max(last.values()) > 1
    assert [each.train_count + 0 < 11 for each in world.registry.rounds("points")] == [False, True]
