"""Samples and their ids."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tidemill_contracts.layout import parse_batch_name
from tidemill_contracts.samples import Sample, decode_base64, sample_id


def test_the_same_content_of_the_same_source_has_the_same_id() -> None:
    assert sample_id(b"x", "a.csv") == sample_id(b"x", "a.csv")


@pytest.mark.parametrize(
    "other", [sample_id(b"y", "a.csv"), sample_id(b"x", "b.csv"), sample_id(b"x", "a.csv", occurrence=1)]
)
def test_content_source_and_occurrence_each_make_another_id(other: str) -> None:
    assert other != sample_id(b"x", "a.csv")


def test_the_label_is_no_part_of_the_content() -> None:
    assert Sample(label="1", text="a").content() == Sample(label="2", text="a").content()


def test_a_row_is_the_same_whatever_the_order_of_its_columns() -> None:
    one = Sample(label="1", row={"a": 1, "b": None})
    other = Sample(label="1", row={"b": None, "a": 1})

    assert one.content() == other.content()


@given(st.binary(max_size=64))
def test_base64_of_every_alphabet_and_padding_is_read(content: bytes) -> None:
    import base64

    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        text = encode(content).decode()
        assert decode_base64(text) == decode_base64(text.rstrip("=")) == content


@pytest.mark.parametrize("text", ["a", "!!!!", "ü", "aGk=x", "aGk\n="])
def test_what_is_not_base64_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not Base64"):
        decode_base64(text)


def test_a_label_that_no_database_could_hold_is_refused() -> None:
    with pytest.raises(ValueError, match="no NUL character"):
        Sample(label="a\0b", text="a")


@pytest.mark.parametrize(
    "name",
    ["a\0b", "a b", "../x", "a" * 300, "\u0661", ""],
    ids=["nul", "space", "up", "long", "digit", "none"],
)
def test_what_is_no_name_of_ours_is_no_batch(name: str) -> None:
    assert parse_batch_name("samples/digits/train/2026/01/02/03/ab12.avro") == ("digits", "train")

    assert parse_batch_name(f"samples/digits/train/2026/01/02/03/{name}.avro") is None
    assert parse_batch_name(f"samples/{name}/train/2026/01/02/03/ab12.avro") is None
