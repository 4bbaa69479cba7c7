"""The tables as samples."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from tidemill_contracts.model_spec import ModelSpec
from tidemill_contracts.samples import Sample, Scalar, sample_id

PENGUIN_COLUMNS: dict[str, Any] = {
    "island": "category",
    "bill_length_mm": "number",
    "bill_depth_mm": "number",
    "flipper_length_mm": "number",
    "body_mass_g": "number",
    "sex": "category",
}


def table_samples(path: Path, label: str) -> list[Sample]:
    """Each labelled row of a CSV file with a header, as `tidemill publish` sends it."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return [
        Sample(
            id=sample_id(str(sorted(row.items())).encode(), path.name, place),
            label=row[label],
            row={name: _value(text) for name, text in row.items() if name != label},
        )
        for place, row in enumerate(rows)
        if row[label]
    ]


def table_spec(kind: str, labels: list[str], columns: dict[str, Any], **changes: Any) -> ModelSpec:
    parts = {
        "name": "table",
        "kind": kind,
        "dataset": "table",
        "labels": labels,
        "input": {"columns": columns},
        "training": {"epochs_max": 100, "batch_size": 32, "learning_rate": 0.01, "patience": 30},
    }
    return ModelSpec.model_validate({**parts, **changes})


def _value(text: str) -> Scalar:
    try:
        return float(text) if text else None
    except ValueError:
        return text
