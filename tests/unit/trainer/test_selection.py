"""Selection: the same pools and seed give the same round, nothing plays two parts."""

from __future__ import annotations

from typing import Any, get_args

from hypothesis import given
from hypothesis import strategies as st
from tidemill_registry.records import Grouping, Ignored, Role, SampleRow
from tidemill_trainer.selection import judges, obstacle, round_seed, select_new, select_retry

IDS = st.lists(st.text("abcdef", min_size=3, max_size=6), unique=True, max_size=40)


@given(IDS, IDS, st.floats(0, 3), st.integers(0, 2**31))
def test_a_round_depends_on_the_pools_and_the_seed_alone(
    new: list[str], old: list[str], ratio: float, seed: int
) -> None:
    unused: list[tuple[str, Role]] = [(each, "train") for each in new]

    once = select_new(unused, old, rehearsal_ratio=ratio, seed=seed)
    again = select_new(unused[::-1], old[::-1], rehearsal_ratio=ratio, seed=seed)

    assert once == again
    assert list(once.train) == sorted(new)
    assert len(once.rehearsal) == min(len(old), round(len(new) * ratio))
    assert set(once.rehearsal) <= set(old)


def test_validation_samples_do_not_train() -> None:
    selection = select_new([("a", "train"), ("b", "validation")], [], rehearsal_ratio=1, seed=0)

    assert selection.parts() == {"train": ["a"], "rehearsal": [], "validation": ["b"]}


def test_another_seed_draws_other_samples_for_rehearsal() -> None:
    old = [str(number) for number in range(100)]
    unused: list[tuple[str, Role]] = [(f"n{number}", "train") for number in range(10)]

    drawn = {select_new(unused, old, rehearsal_ratio=1, seed=seed).rehearsal for seed in range(5)}

    assert len(drawn) == 5


def retried(ignored: list[Ignored], grouping: Grouping = "stratified", **changed: Any) -> tuple[str, ...]:
    parts = {
        "turn": 0,
        "folds": 3,
        "samples_min": 1,
        "samples_max": 50,
        "rehearsal_ratio": 0,
        "seed": 3,
        **changed,
    }
    return select_retry(ignored, [], grouping=grouping, **parts).train


def test_a_retry_takes_those_with_the_fewest_attempts_first() -> None:
    ignored = [Ignored("tired", 1), Ignored("fresh", 0), Ignored("rested", 0)]

    for grouping in get_args(Grouping):
        assert "tired" not in retried(ignored, grouping, samples_max=2, folds=2)


def test_retries_group_the_same_samples_differently() -> None:
    ignored = [Ignored(f"{number:03d}", 0) for number in range(100)]

    assert len({retried(ignored, seed=seed) for seed in range(5)}) == 5


def test_a_stratified_retry_takes_the_same_share_of_every_label() -> None:
    ignored = [Ignored(f"{number:03d}", 0, label="b" if number % 4 == 0 else "a") for number in range(100)]

    chosen = retried(ignored, samples_max=20)

    assert sum(int(each) % 4 == 0 for each in chosen) == 5


def test_the_folds_of_a_pool_have_nothing_in_common_and_miss_nothing() -> None:
    ignored = [Ignored(f"{number:03d}", 0) for number in range(100)]

    folds = [retried(ignored, "k_fold", turn=turn) for turn in range(3)]

    assert sorted(each for fold in folds for each in fold) == [each.sample_id for each in ignored]


def test_a_loss_ranked_retry_begins_with_what_troubles_the_champion_least() -> None:
    ignored = [Ignored("hard", 0, loss=3.0), Ignored("unknown", 0), Ignored("easy", 0, loss=0.1)]

    assert retried(ignored, "loss_ranked", samples_max=1) == ("easy",)
    assert retried(ignored, "loss_ranked", samples_max=2) == ("easy", "hard")


def test_a_retry_never_mixes_samples_whose_labels_are_believed_with_others() -> None:
    ignored = [Ignored(f"{number:03d}", number % 3, believed=number % 2 == 0) for number in range(100)]

    for grouping in get_args(Grouping):
        assert len({int(each) % 2 for each in retried(ignored, grouping)}) == 1


def test_believed_samples_and_others_take_turns_by_their_attempts() -> None:
    believed = [Ignored(f"b{number}", 1, believed=True) for number in range(9)]
    others = [Ignored(f"o{number}", 0) for number in range(5)]

    assert set(retried([*believed, *others], samples_min=5)) == {each.sample_id for each in others}
    assert set(retried([*believed, *others], samples_min=6)) == {each.sample_id for each in believed}
    assert retried([]) == ()


ROWS = st.lists(st.text("0123456789abcdef", min_size=2, max_size=4), unique=True, max_size=30)


@given(ROWS, ROWS, st.integers(1, 20))
def test_judges_are_as_many_as_may_be_and_new_ones_only_take_places(
    before: list[str], came: list[str], validation_max: int
) -> None:
    def rows(digests: list[str]) -> list[SampleRow]:
        return [SampleRow(f"id-{each}", "object", 0, 0, "a", "validation", each) for each in digests]

    then = judges(rows(before), validation_max)
    everything = rows(sorted({*before, *came}))
    now = judges(everything, validation_max)

    assert len(now) == min(len(everything), validation_max)
    assert now == [row for row in everything if row in now]
    assert {row.digest for row in now} & set(before) <= {row.digest for row in then}
    assert judges(everything[::-1], validation_max) == now[::-1]


def test_every_round_of_a_model_has_a_seed_of_its_own() -> None:
    seeds = {round_seed(7, number) for number in range(100)}

    assert len(seeds) == 100
    assert all(0 <= seed < 2**31 for seed in seeds)
    assert round_seed(7, 1) == round_seed(7, 1) != round_seed(8, 1)


def test_a_round_needs_two_labels_to_learn_and_something_to_validate_on() -> None:
    assert obstacle(train_labels=[], validation_count=5) == "no training samples"
    assert obstacle(train_labels=["0", "1"], validation_count=0) == "no validation samples"
    assert obstacle(train_labels=["7", "7"], validation_count=5) is not None
    assert obstacle(train_labels=["7", "1"], validation_count=1) is None
