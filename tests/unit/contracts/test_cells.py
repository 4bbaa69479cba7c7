"""Cells of tables."""

from __future__ import annotations

import pytest
from tidemill_contracts.cells import cell_value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("7", 7),
        ("-2.50", -2.5),
        ("1e3", 1000.0),
        ("red", "red"),
        ("nan", "nan"),
        ("-inf", "-inf"),
        ("1e999", "1e999"),
        ("9" * 400, int("9" * 400)),
        ("9" * 5000, "9" * 5000),
    ],
    ids=[
        "empty",
        "whole",
        "negative",
        "power",
        "word",
        "nan",
        "infinity",
        "too large",
        "400 digits",
        "5000 digits",
    ],
)
def test_a_cell_is_nothing_a_number_or_a_text(text: str, value: object) -> None:
    found = cell_value(text)

    assert found == value
    assert type(found) is type(value)
