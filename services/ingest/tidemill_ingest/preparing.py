"""One sample as it came becomes one as it is published: checked, with an id, its image normalised."""

from __future__ import annotations

import base64
import hashlib
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from tidemill_contracts.errors import InvalidInput, TooLarge
from tidemill_contracts.samples import Sample, Scalar, sample_id

from tidemill_ingest.budget import Budget
from tidemill_ingest.catalog import Expectation, content_name
from tidemill_ingest.images import PIXELS_MAX
from tidemill_ingest.normalising import normalise

TEXT_BYTES_MAX = 4 * 1024 * 1024
"""Of a text or a row. A message of Pub/Sub holds 10 MB."""
NOT_FINITE = (b"NaN", b"Infinity")
"""How JSON names such numbers; a text may hold the words too."""


@dataclass(frozen=True)
class ImageLimits:
    """What an encoded image may weigh, and how many pixels it may have."""

    size_bytes_max: int = 16 * 1024 * 1024
    pixels_max: int = PIXELS_MAX


class Preparer:
    """Prepares samples. pixels: shared by every request of the process."""

    def __init__(self, limits: ImageLimits, pixels: Budget) -> None:
        self._limits = limits
        self._pixels = pixels

    def prepare(
        self, sample: Sample, expected: Expectation, *, source: str, seen: Counter[bytes], field: str
    ) -> Sample:
        """The sample to publish: the same one, completed.

        seen: how often each content, by digest, came in this request: a table may say a thing twice.
        field: where the sample stands in the request, for the error's text.

        Raises:
            InvalidInput: its label, its kind, its text or its image is not taken; the text says why.
            Overloaded: too many pixels are being decoded at once.
        """
        expected.check(sample, field)
        try:
            content = sample.content()
            self._check_weight(sample, content)
            given = {"id": sample.id or _made_id(content, source, seen)}
            if sample.image is not None:
                made = normalise(content, expected.image, self._pixels, pixels_max=self._limits.pixels_max)
                if made is not content:
                    given["image"] = base64.b64encode(made).decode()
        except InvalidInput as error:
            where = f"{field}.{content_name(sample)}"
            raise type(error)(f"{where}: {error}", field=where) from error
        except ValueError as error:
            where = f"{field}.{content_name(sample)}"
            raise InvalidInput(f"{where}: {error}", field=where) from error
        # As `model_copy(update=given)` does, in a tenth of its time: the sample is nobody else's yet.
        sample.__dict__.update(given)
        sample.__pydantic_fields_set__.update(given)
        return sample

    def _check_weight(self, sample: Sample, content: bytes) -> None:
        limit = self._limits.size_bytes_max if sample.image is not None else TEXT_BYTES_MAX
        if len(content) > limit:
            raise TooLarge(f"{len(content)} bytes is over the limit of {limit}")
        suspect = sample.row is not None and any(word in content for word in NOT_FINITE)
        if suspect and not _is_finite(sample.row or {}):
            raise InvalidInput("a number is infinite or not a number; leave it out, or send null")


def _is_finite(row: Mapping[str, Scalar]) -> bool:
    return all(math.isfinite(value) for value in row.values() if isinstance(value, float))


def _made_id(content: bytes, source: str, seen: Counter[bytes]) -> str:
    digest = hashlib.sha256(content).digest()
    occurrence = seen[digest]
    seen[digest] += 1
    return sample_id(content, source, occurrence)
