"""Reads rows of a CSV file with a header; one column is the label."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path

from tidemill_contracts.cells import cell_value
from tidemill_contracts.errors import InvalidInput, NotFound
from tidemill_contracts.samples import Split

from tidemill.sources.raw_sample import RawSample


def count_rows(path: Path) -> int:
    """How many rows follow the header; raises as `read_csv` does."""
    with _opened(path) as file:
        return max(0, sum(1 for _ in csv.reader(file)) - 1)


def read_csv(path: Path, label: str, split: Split, *, text: str | None = None) -> Iterator[RawSample]:
    """Each row as a mapping from column to number or text; an empty cell is missing (None).

    text: a column whose text alone is the sample.

    Raises:
        NotFound: there is no such file.
        InvalidInput: it has no such column, or a row has another number of cells than the header.
    """
    with _opened(path) as file:
        columns = csv.DictReader(file, strict=True).fieldnames or ()
    for option, column in (("--label", label), ("--text", text)):
        if column is not None and column not in columns:
            known = ", ".join(columns) or "none"
            raise InvalidInput(f"{path} has no column {column!r}; its columns are: {known}", field=option)
    return _rows(path, label, split, text)


def _rows(path: Path, label: str, split: Split, text: str | None) -> Iterator[RawSample]:
    with _opened(path) as file:
        reader = csv.DictReader(file, strict=True)
        try:
            for number, cells in enumerate(reader, start=2):
                if None in cells or None in cells.values():
                    raise InvalidInput(f"{path}, line {number}: not as many cells as the header has names")
                row = {name: cell_value(cell) for name, cell in cells.items() if name != label}
                yield RawSample(
                    label=cells[label],
                    identity=cells[text].encode() if text else json.dumps(row, sort_keys=True).encode(),
                    source=f"csv:{path.name}",
                    split=split,
                    text=cells[text] if text else None,
                    row=None if text else row,
                    where=f"{path}, line {number}",
                )
        except csv.Error as error:
            raise InvalidInput(f"{path}, line {reader.line_num}: {error}") from error


def _opened(path: Path):  # type: ignore[no-untyped-def]  # the type of open() says less than its name
    try:
        return path.open(newline="", encoding="utf-8-sig")
    except OSError as error:
        raise NotFound(f"{path} cannot be read: {error.strerror}") from error
