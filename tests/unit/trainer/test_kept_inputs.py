"""What was read of validation and test samples is kept, and changes nothing but the cost."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tidemill_contracts.samples import Sample
from tidemill_registry.decision_rows import read_decisions
from tidemill_registry.records import SampleRow
from tidemill_trainer import examples, kept_inputs
from tidemill_trainer.kept_inputs import KeptInputs

Points = Callable[..., list[Sample]]


class Lengths:
    """Reads nothing; the targets of labels are their lengths."""

    def targets(self, labels: Any) -> Any:
        return np.array([len(each) for each in labels], np.int64)


def rows(*digests: str, label: str = "a") -> list[SampleRow]:
    return [SampleRow(f"id-{each}", "object", 0, 0, label, "validation", each) for each in digests]


def read(some: list[SampleRow]) -> Any:
    """Each content's own number, twice."""
    return np.array([[ord(row.digest)] * 2 for row in some], np.uint8).reshape(-1, 2)


@pytest.fixture
def ask(tmp_path: Path) -> Callable[[KeptInputs, list[SampleRow]], Any]:
    def complete(kept: KeptInputs, some: list[SampleRow]) -> Any:
        recipe: Any = Lengths()
        return kept.complete(some, read(kept.unread(some)), recipe, scratch=tmp_path)

    return complete


def test_only_contents_that_are_new_are_read_and_all_stand_where_they_belong(ask: Any) -> None:
    kept = KeptInputs()
    ask(kept, rows("b", "d", "f"))
    now = rows("a", "f", "c", "b", "e")

    unread = [row.digest for row in kept.unread(now)]
    found = ask(kept, now)

    assert unread == ["a", "c", "e"]
    assert found.inputs.tolist() == read(now).tolist()
    assert [row.digest for row in kept.unread(rows("a", "d"))] == ["d"]


def test_a_label_that_was_corrected_is_not_kept(ask: Any) -> None:
    kept = KeptInputs()
    ask(kept, rows("a", "b"))

    assert ask(kept, rows("a", "b", label="longer")).targets.tolist() == [6, 6]


def test_the_same_content_twice_is_read_once_and_stands_twice(ask: Any) -> None:
    kept = KeptInputs()
    ask(kept, rows("a"))

    assert ask(kept, rows("a", "b", "a", "b")).inputs[:, 0].tolist() == [97, 98, 97, 98]


def test_more_than_may_be_kept_is_read_anew(ask: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_inputs, "KEPT_BYTES_MAX", 5)
    kept = KeptInputs()

    few, many = rows("a", "b"), rows("a", "b", "c")

    assert ask(kept, few).inputs.tolist() == read(few).tolist()
    assert kept.unread(few) == []
    assert ask(kept, many).inputs.tolist() == read(many).tolist()
    assert kept.unread(many) == many


def test_inputs_that_do_not_fit_into_memory_are_kept_in_a_file_without_a_name(
    ask: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(examples, "IN_MEMORY_BYTES_MAX", 1)
    monkeypatch.setattr(kept_inputs, "READ_AT_ONCE", 2)
    kept = KeptInputs()
    ask(kept, rows("b", "d", "f"))

    found = ask(kept, rows("a", "b", "c", "d", "e", "f"))

    assert isinstance(found.inputs, np.memmap)
    assert found.inputs[:, 1].tolist() == [97, 98, 99, 100, 101, 102]
    assert list(tmp_path.iterdir()) == []


def test_a_trainer_that_kept_what_it_read_decides_as_one_that_was_started_anew(
    make_world: Any, points: Points
) -> None:
    def live(*, anew: bool) -> Any:
        world = make_world(test={"every_s": 1}, gate={"significance": 1, "validation_max": 40})
        trainer = world.start()
        world.put(points(30, seed=9), "test")
        for number in range(4):
            if anew:
                trainer.release()
                trainer = world.start()
            world.put(points(60, seed=number))
            world.put(points(10, seed=20 + number), "test")
            world.pass_time(2)
            trainer.idle()
            trainer.idle()
        rounds = world.registry.rounds("points")
        with world.registry.read() as sql:
            told = read_decisions(sql, "points")
        runs = [(each.sample_count, each.loss) for each in world.registry.test_runs("points")]
        return [(each.status, each.reason, dict(told[each.id].numbers)) for each in rounds], runs

    assert live(anew=False) == live(anew=True)


def test_a_later_round_reads_the_validation_samples_that_are_new_and_no_others(
    world: Any, points: Points
) -> None:
    count = 0
    real = world.recipe.read

    def counted(some: Any) -> Any:
        nonlocal count
        count += len(some)
        return real(some)

    world.put(points(200))
    trainer = world.start()
    trainer.idle()
    world.put(points(60, seed=1))
    world.recipe.read = counted

    trainer.idle()

    first, second = world.registry.rounds("points")
    new = second.validation_count - first.validation_count
    golden = 8
    assert second.validation_count > new + golden
    assert count == second.train_count + second.rehearsal_count + new + golden * (second.status == "promoted")
