"""Keeps what was read of samples that are asked again and again, so that only the new ones are read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tidemill_chassis.logs import get_logger
from tidemill_registry.records import SampleRow

from tidemill_trainer.examples import READ_AT_ONCE, room
from tidemill_trainer.recipes.recipe import Examples, Recipe

KEPT_BYTES_MAX = 1024 * 1024 * 1024
"""Of one set of samples; a larger one is read anew every time."""

log = get_logger(__name__)


class KeptInputs:
    """A set of samples as a recipe read it last, by content. Lost with the process, and then read again.

    It lies where a round's inputs lie: in memory, or in an unnamed file. What is kept was checked against
    its object's digest when it was read.
    """

    def __init__(self) -> None:
        self._places: dict[str, int] = {}
        self._inputs: npt.NDArray[Any] | None = None

    def unread(self, rows: Sequence[SampleRow]) -> list[SampleRow]:
        """Those of the rows whose content is not kept."""
        return [row for row in rows if row.digest not in self._places]

    def complete(
        self, rows: Sequence[SampleRow], fresh: npt.NDArray[Any], recipe: Recipe, *, scratch: Path
    ) -> Examples:
        """All of the rows as examples, in their order; they are what is kept from here on.

        fresh: the inputs of `unread(rows)`.
        """
        inputs = self._joined(rows, fresh, scratch)
        examples = Examples(inputs, recipe.targets([row.label for row in rows]))
        if _size_bytes(inputs) > KEPT_BYTES_MAX:
            log.info("inputs_not_kept", sample_count=len(rows), bytes_max=KEPT_BYTES_MAX)
            self._places, self._inputs = {}, None
        else:
            self._places = {row.digest: place for place, row in enumerate(rows)}
            self._inputs = inputs
        return examples

    def _joined(self, rows: Sequence[SampleRow], fresh: npt.NDArray[Any], scratch: Path) -> npt.NDArray[Any]:
        kept = self._inputs
        if kept is None or len(fresh) == len(rows):
            return fresh
        inputs = room(len(rows), fresh, scratch)
        sources = np.array([self._places.get(row.digest, -1) for row in rows], np.int64)
        inputs_of_fresh = np.cumsum(sources < 0) - 1
        # Part by part: both may lie in files because they do not fit into memory.
        for start in range(0, len(rows), READ_AT_ONCE):
            part, mine = sources[start : start + READ_AT_ONCE], inputs[start : start + READ_AT_ONCE]
            known = part >= 0
            mine[known] = kept[part[known]]
            mine[~known] = fresh[inputs_of_fresh[start : start + READ_AT_ONCE][~known]]
        return inputs


def _size_bytes(inputs: npt.NDArray[Any]) -> int:
    """With the texts that an array of objects points to."""
    return int(inputs.nbytes) + (sum(map(len, inputs)) if inputs.dtype.hasobject else 0)
