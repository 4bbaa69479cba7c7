"""Roles: by id and split alone, for ever, never across the line of testing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tidemill_trainer.roles import may_join, role_of


@pytest.mark.long
@given(st.text(min_size=1), st.integers(1, 50))
def test_a_test_sample_is_never_anything_else(sample_id: str, percent: int) -> None:
    assert role_of(sample_id, "test", validation_percent=percent) == "test"


@given(st.text(min_size=1), st.integers(1, 50))
def test_a_training_sample_trains_or_validates(sample_id: str, percent: int) -> None:
    assert role_of(sample_id, "train", validation_percent=percent) in ("train", "validation")


def test_the_role_of_an_id_is_the_same_on_every_machine() -> None:
    roles = [role_of(str(number), "train", validation_percent=30) for number in range(8)]

    assert "".join(role[0] for role in roles) == "tvtttttt"


def test_the_share_that_validates_is_the_one_asked_for() -> None:
    roles = [role_of(str(number), "train", validation_percent=15) for number in range(20_000)]

    assert roles.count("validation") / len(roles) == pytest.approx(0.15, abs=0.01)


def test_contents_never_cross_the_line_of_testing() -> None:
    assert may_join("test", None)
    assert may_join("train", "validation")
    assert may_join("test", "test")
    assert not may_join("train", "test")
    assert not may_join("test", "train")
    assert not may_join("test", "validation")
