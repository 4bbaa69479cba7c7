"""A sample as it is read from a file, before it has an id."""

from __future__ import annotations

import base64
import io
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256

from PIL import Image
from pydantic import ValidationError
from tidemill_contracts.envelope import field_path
from tidemill_contracts.errors import InvalidInput
from tidemill_contracts.samples import Sample, Scalar, Split, sample_id


@dataclass(frozen=True)
class RawSample:
    """One labelled example of a file.

    identity: the bytes that its id is made of. They depend on the file alone, never on how we encode it.
    source: which file; part of the id.
    where: file and line, for whoever must mend it; empty where there is no telling.
    Exactly one of image (an encoded file), text and row is given.
    """

    label: str
    identity: bytes
    source: str
    split: Split
    image: bytes | None = None
    text: str | None = None
    row: dict[str, Scalar] | None = None
    where: str = ""


def _raise(fault: str) -> None:
    raise InvalidInput(fault)


def with_ids(
    samples: Iterable[RawSample], refuse: Callable[[str], None] = _raise
) -> Iterator[tuple[RawSample, Sample]]:
    """Each raw sample with the sample that is published for it: the same file gives the same ids.

    refuse: is told of each that cannot be one, such as a row without a label; when it returns, the others
        follow, with the ids that they would have had anyhow.

    Raises:
        InvalidInput: a sample cannot be one, and nobody takes refusals.
    """
    seen: Counter[bytes] = Counter()
    for raw in samples:
        key = sha256(raw.source.encode() + b"\n" + raw.identity).digest()
        ident = sample_id(raw.identity, raw.source, occurrence=seen[key])
        seen[key] += 1
        image = base64.b64encode(raw.image).decode() if raw.image is not None else None
        try:
            if not raw.label.strip():
                raise InvalidInput("the label is empty, and without one it can teach nothing")
            made = Sample(id=ident, label=raw.label, image=image, text=raw.text, row=raw.row)
        except (InvalidInput, ValidationError) as error:
            refuse(f"{raw.where or raw.source}: {_fault(error)}")
            continue
        yield raw, made


def _fault(error: InvalidInput | ValidationError) -> str:
    if isinstance(error, InvalidInput):
        return str(error)
    first = error.errors(include_url=False, include_input=False)[0]
    return f"{field_path(first['loc'])}: {first['msg'].removeprefix('Value error, ')}"


def png_of_grey(pixels: bytes, *, width: int, height: int) -> bytes:
    """A grey picture, uint8[height × width], as PNG."""
    buffer = io.BytesIO()
    Image.frombytes("L", (width, height), pixels).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()
