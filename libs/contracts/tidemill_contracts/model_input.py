"""What a model takes in: images of one size, or rows of named columns."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    StringConstraints,
    Tag,
    model_validator,
)

COLUMNS_MAX = 1000
COLUMN_PATTERN = r"^[A-Za-z][A-Za-z0-9_]{0,62}$"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ImageInput(_Part):
    """The size that every image is brought to. channels: 1 grey, 3 RGB."""

    height: Annotated[int, Field(ge=8, le=1024)]
    width: Annotated[int, Field(ge=8, le=1024)]
    channels: Literal[1, 3] = 3


class Column(_Part):
    """A column of a table.

    name: of the served model's input. source: what samples call the column, where that is another name.
    """

    name: Annotated[str, StringConstraints(pattern=COLUMN_PATTERN)]
    type: Literal["number", "category"]
    source: Annotated[str, StringConstraints(min_length=1, max_length=256)] | None = None

    @property
    def key(self) -> str:
        """The column's name in a sample's row."""
        return self.source or self.name


def _listed(columns: Any) -> Any:
    """``{age: number, town: {type: category, source: City}}`` as a list of columns."""
    if not isinstance(columns, dict):
        return columns
    return [
        {"name": name, **(said if isinstance(said, dict) else {"type": said})}
        for name, said in columns.items()
    ]


class TableInput(_Part):
    """The columns that a model reads; whatever else a row has is left alone."""

    columns: Annotated[
        tuple[Column, ...], BeforeValidator(_listed), Field(min_length=1, max_length=COLUMNS_MAX)
    ]

    @model_validator(mode="after")
    def _columns_are_distinct(self) -> TableInput:
        # A signature's inputs are told apart by letters alone, not by their size.
        if len({column.name.lower() for column in self.columns}) != len(self.columns):
            raise ValueError("columns must be distinct")
        return self


def _which(value: Any) -> str:
    is_table = isinstance(value, TableInput) or (isinstance(value, dict) and "columns" in value)
    return "table" if is_table else "image"


ModelInput = Annotated[
    Annotated[ImageInput, Tag("image")] | Annotated[TableInput, Tag("table")], Discriminator(_which)
]
