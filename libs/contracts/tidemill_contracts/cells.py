"""What a cell of a CSV table means: alike for all who read one, as the sample's id follows from it."""

from __future__ import annotations

import math

from tidemill_contracts.samples import Scalar


def cell_value(text: str) -> Scalar:
    """None for an empty cell, else the number that it spells, else the text. NaN and infinity stay texts."""
    if text == "":
        return None
    for kind in (int, float):
        try:
            number = kind(text)
        except ValueError:
            continue
        # A whole number may be too large for a float to be asked about.
        return number if isinstance(number, int) or math.isfinite(number) else text
    return text
