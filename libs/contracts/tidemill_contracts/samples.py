"""One labelled example, as producers send it and every reader finds it again."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)

Split = Literal["train", "test"]
SPLITS: tuple[Split, ...] = ("train", "test")

NAME_PATTERN = r"^[a-z0-9][a-z0-9_-]{0,62}$"
Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
"""A dataset's or model's name: safe in paths, URLs, topics and labels of metrics."""

SAMPLE_ID_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}$"
SampleId = Annotated[str, StringConstraints(pattern=SAMPLE_ID_PATTERN)]
Scalar = str | int | float | bool | None

ROW_COLUMNS_MAX = 4096


def _label_text(value: Any) -> Any:
    """Whole numbers are labels too: digits arrive as 7 as often as "7"."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _without_nul(value: str) -> str:
    if "\0" in value:
        raise ValueError("a label holds no NUL character: no database could keep it")
    return value


_canonical = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode


Label = Annotated[
    str,
    BeforeValidator(_label_text),
    StringConstraints(min_length=1, max_length=128),
    AfterValidator(_without_nul),
]


class Sample(BaseModel):
    """A labelled example: exactly one of an image, a text or a row.

    id: names the sample in its dataset for ever; made by `sample_id` where the producer gave none.
    image: the encoded file (PNG, JPEG, …) in Base64.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: SampleId | None = None
    label: Label
    image: Annotated[str, StringConstraints(min_length=1)] | None = None
    text: str | None = None
    row: Annotated[dict[str, Scalar], Field(min_length=1, max_length=ROW_COLUMNS_MAX)] | None = None

    @model_validator(mode="after")
    def _has_one_content(self) -> Sample:
        if (self.image is None) + (self.text is None) + (self.row is None) != 2:
            given = [name for name in ("image", "text", "row") if getattr(self, name) is not None]
            found = " and ".join(given) or "none of them"
            raise ValueError(f"give exactly one of image, text and row; found {found}")
        return self

    def content(self) -> bytes:
        """The example itself in bytes: the decoded image, UTF-8 text, or the row as canonical JSON.

        Raises:
            ValueError: the image is not Base64.
        """
        if self.image is not None:
            return decode_base64(self.image)
        if self.text is not None:
            return self.text.encode("utf-8", "surrogatepass")
        return _canonical(self.row).encode()


def decode_base64(text: str) -> bytes:
    """Bytes of Base64 text, standard or URL-safe, padded or not.

    Raises:
        ValueError: it is neither.
    """
    try:
        standard = text.translate(_URL_SAFE).encode("ascii")
        return base64.b64decode(standard + b"=" * (-len(standard) % 4), validate=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise ValueError(f"not Base64: {error}") from error


_URL_SAFE = str.maketrans("-_", "+/")


def sample_id(content: bytes, source: str, occurrence: int = 0) -> str:
    """The id that a sample has where its producer gave none: hexadecimal[32].

    The same content from the same source has the same id, so publishing a file twice adds nothing.
    The label has no part in it: a corrected label is the same sample.

    occurrence: how often the same content stood in the same source before; a table may say a thing twice.
    """
    digest = hashlib.sha256()
    digest.update(f"{source}\n{occurrence}\n".encode())
    digest.update(content)
    return digest.hexdigest()[:32]
