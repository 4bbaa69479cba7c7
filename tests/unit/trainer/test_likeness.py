"""Sketches: nearly the same content is found across the test line, other content is not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tidemill_contracts.samples import Sample
from tidemill_registry.batches import get_objects
from tidemill_registry.doubt_rows import list_near
from tidemill_registry.sample_rows import get_samples
from tidemill_registry.tables import samples
from tidemill_trainer import examples
from tidemill_trainer.monitoring.likeness import (
    BITS_PER_DIFFERENCE,
    DISTANCE_MAX,
    Likenesses,
    image_sketches,
    row_sketch,
    text_sketch,
)

Points = Callable[..., list[Sample]]


def test_an_image_that_was_saved_again_or_brightened_is_near_and_another_is_not() -> None:
    random = np.random.default_rng(1)
    coarse = random.integers(40, 200, (50, 7, 7, 1))
    images = coarse.repeat(4, axis=1).repeat(4, axis=2).astype(np.uint8)
    again = np.clip(images.astype(int) + random.integers(-1, 2, images.shape) + 10, 0, 255).astype(np.uint8)
    known = Likenesses()
    known.add(dict(zip(map(str, range(50)), image_sketches(images), strict=True)))

    sketches = image_sketches(again)
    near = known.near({f"again-{place}": each for place, each in enumerate(sketches)}, is_test=True)

    assert {each.test_id.removeprefix("again-") for each in near if each.train_id == each.test_id[6:]} == {
        str(place) for place in range(50)
    }
    assert all(each.train_id == each.test_id.removeprefix("again-") for each in near)


def test_texts_are_alike_but_for_case_punctuation_accents_and_spaces() -> None:
    assert text_sketch("  Crème   brûlée, PLEASE! ") == text_sketch("creme brulee please")
    assert text_sketch("a good film") != text_sketch("a bad film")


def test_rows_are_alike_in_four_digits() -> None:
    assert row_sketch({"x": 1.00001, "y": "A b"}) == row_sketch({"y": "a  B", "x": 1.0})
    assert row_sketch({"x": 1.01}) != row_sketch({"x": 1.0})
    assert row_sketch({"x": 10**400}) == row_sketch({"x": 10**400})


def test_a_test_sample_that_nearly_stands_in_training_is_told_of(world: Any, points: Points) -> None:
    sample = points(1)[0]
    row = dict(sample.row or {})
    nearly = sample.model_copy(update={"row": {**row, "x": float(row["x"]) * 1.0000001}})  # type: ignore[arg-type]
    world.put(points(40))
    world.put([nearly, *points(10, seed=9)], "test")

    world.start().idle()

    with world.registry.read() as sql:
        (found,) = list_near(sql, "points")
    assert found.distance == 0


@pytest.mark.parametrize("limit", [0, 10**9])
def test_a_large_round_lies_in_a_file_and_reads_the_same(
    world: Any, points: Points, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    monkeypatch.setattr(examples, "IN_MEMORY_BYTES_MAX", limit)
    monkeypatch.setattr(examples, "READ_AT_ONCE", 7)
    names = [world.put(points(20, seed=seed)) for seed in range(3)]
    world.start().idle()
    with world.registry.read() as sql:
        ids = [row.sample_id for row in sql.execute(samples.select())]
        rows, objects = get_samples(sql, "points", ids), get_objects(sql, names)

    found = examples.load_examples(
        world.learner, world.store, rows, objects, step=lambda: None, scratch=tmp_path / "scratch"
    )

    assert isinstance(found.inputs, np.memmap) == (limit == 0)
    assert list((tmp_path / "scratch").glob("*")) == []
    wanted = {tuple((sample.row or {}).values()) for seed in range(3) for sample in points(20, seed=seed)}
    assert {(x, y) for x, y, _ in np.asarray(found.inputs).tolist()} == wanted
    for row, inputs in zip(rows, found.inputs, strict=True):
        (one,) = (sample for _, some in examples.read_samples(world.store, [row], objects) for sample in some)
        assert (one.row or {})["x"] == inputs[0]


def test_what_is_found_by_counts_and_middles_is_what_comparing_all_finds() -> None:
    random = np.random.default_rng(5)
    bits = random.random((60, 256)) < random.uniform(0, 0.6, (60, 1))
    changed = bits.copy()
    for row in changed:
        row[random.choice(256, random.integers(0, 12), replace=False)] ^= True
    known = {f"k{place}": np.packbits(row).tobytes().hex() for place, row in enumerate(bits)}
    asked = {f"a{place}": np.packbits(row).tobytes().hex() for place, row in enumerate(changed)}
    side = Likenesses()
    side.add(known)

    found = {(each.test_id, each.train_id, each.distance) for each in side.near(asked, is_test=True)}

    expected = set()
    for mine, row in enumerate(changed):
        for other, against in enumerate(bits):
            distance, either = int((row != against).sum()), int((row | against).sum())
            if distance <= min(DISTANCE_MAX, either // BITS_PER_DIFFERENCE):
                expected.add((f"a{mine}", f"k{other}", distance))
    assert found == expected
    assert len(expected) > 10
