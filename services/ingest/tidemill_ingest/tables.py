"""CSV files with a header: a sample per row, one column of which is the label."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence

from pydantic import ValidationError
from tidemill_contracts.cells import cell_value
from tidemill_contracts.errors import InvalidInput
from tidemill_contracts.events import SAMPLES_PER_MESSAGE_MAX
from tidemill_contracts.samples import ROW_COLUMNS_MAX, Sample


def read_table(data: bytes, *, label: str, text: str | None = None) -> Iterator[tuple[int, Sample]]:
    """Each row with the number of its line: a mapping from column to number or text, None for an empty cell.

    label: the column that is the label. text: a column whose text alone is the sample.

    Raises:
        InvalidInput: it is no UTF-8, has no such column, or a row is none; the text names the line.
    """
    try:
        decoded = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidInput(f"the table is not UTF-8: {error}") from error
    reader = csv.DictReader(io.StringIO(decoded, newline=""), strict=True)
    try:
        columns = reader.fieldnames or []
        _check_columns(columns, label, text)
        count = 0
        for cells in reader:
            count += 1
            if count > SAMPLES_PER_MESSAGE_MAX:
                raise InvalidInput(f"a table holds at most {SAMPLES_PER_MESSAGE_MAX} rows: send it in parts")
            if None in cells or None in cells.values():
                raise InvalidInput(f"line {reader.line_num}: not as many cells as the header has names")
            yield reader.line_num, _sample(cells, reader.line_num, label, text)
        if not count:
            raise InvalidInput("the table has no rows")
    except csv.Error as error:
        raise InvalidInput(f"line {reader.line_num}: {error}") from error


def _check_columns(columns: Sequence[str], label: str, text: str | None) -> None:
    if len(set(columns)) != len(columns) or len(columns) > ROW_COLUMNS_MAX:
        raise InvalidInput(f"a table has at most {ROW_COLUMNS_MAX} columns, each of another name")
    for field, column in (("label", label), ("text", text)):
        if column is not None and column not in columns:
            known = ", ".join(columns[:20]) or "none"
            raise InvalidInput(f"{field}: the table has no column {column!r}; it has {known}", field=field)


def _sample(cells: dict[str, str], line: int, label: str, text: str | None) -> Sample:
    row = None if text else {name: cell_value(cell) for name, cell in cells.items() if name != label}
    try:
        return Sample(label=cells[label], text=cells[text] if text else None, row=row)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise InvalidInput(f"line {line}: {label}: {first['msg']}") from error
