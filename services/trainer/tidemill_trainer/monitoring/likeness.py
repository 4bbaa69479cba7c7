"""Sketches of contents: nearly the same content, nearly the same sketch. Only to find and to tell."""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

import numpy as np
import numpy.typing as npt
from tidemill_contracts.samples import Sample, Scalar
from tidemill_registry.doubt_rows import NearDuplicate

SIDE = 16
"""Images are shrunk to SIDE × (SIDE + 1): 256 comparisons of neighbours."""
BRIGHTER_BY = 4.0
"""Of 255: less is the noise of a file that was saved again."""
DISTANCE_MAX = 6
"""Bits of 256 by which two sketches may differ and still be told of."""
BITS_PER_DIFFERENCE = 16
"""Bits that must be set in either sketch for each bit in which they may differ."""
TOLD_MAX = 1000
"""Likenesses told of per object; a test set that was copied whole needs no longer list."""
COMPARED_AT_ONCE = 250_000
"""Pairs of sketches; what they take stays in a processor's cache."""
MIDDLE = (1, 2)
"""Words of a sketch that tell most pairs apart: an image's rim is often empty."""
DIGITS = 4

Bits = npt.NDArray[np.uint64]


def image_sketches(pixels: npt.NDArray[np.uint8]) -> list[str]:
    """Hexadecimal[64] of uint8[N, height, width, channels]: where a place is brighter than its neighbour.

    The difference hash (Krawetz, "Kind of Like That", 2013) with 256 bits instead of 64.
    """
    grey = pixels.astype(np.float32).mean(axis=3)
    down = np.array_split(np.arange(grey.shape[1]), SIDE)
    right = np.array_split(np.arange(grey.shape[2]), SIDE + 1)
    if not all(len(each) for each in (*down, *right)):
        return [""] * len(grey)
    rows = np.stack([grey[:, each].mean(axis=1) for each in down], axis=1)
    small = np.stack([rows[:, :, each].mean(axis=2) for each in right], axis=2)
    bits = np.packbits((small[:, :, 1:] > small[:, :, :-1] + BRIGHTER_BY).reshape(len(grey), -1), axis=1)
    return [bytes(each).hex() for each in bits]


def text_sketch(text: str) -> str:
    """Hexadecimal[64], the same for texts that differ in case, punctuation, spaces or accents only."""
    plain = unicodedata.normalize("NFKD", text.casefold())
    words = "".join(each if each.isalnum() else " " for each in plain if not unicodedata.combining(each))
    return hashlib.sha256(" ".join(words.split()).encode("utf-8", "surrogatepass")).hexdigest()


def row_sketch(row: Mapping[str, Scalar]) -> str:
    """Hexadecimal[64], the same for rows whose numbers agree in DIGITS digits and whose texts read alike."""
    alike = {name: _alike(value) for name, value in row.items()}
    return hashlib.sha256(json.dumps(alike, sort_keys=True).encode()).hexdigest()


def sketch(sample: Sample) -> str:
    """Of a text or a row; an image's is made from its pixels."""
    if sample.text is not None:
        return text_sketch(sample.text)
    return row_sketch(sample.row or {})


def _alike(value: Scalar) -> str:
    if isinstance(value, int | float):
        try:
            return f"{float(value):.{DIGITS}g}"
        except OverflowError:  # a whole number that is larger than any float
            return f"{Decimal(value):.{DIGITS}g}"
    return text_sketch(value) if isinstance(value, str) else "null"


@dataclass
class Likenesses:
    """The sketches of one side of a dataset, to be compared with what arrives on the other."""

    ids: list[str] = field(default_factory=list)
    bits: Bits = field(default_factory=lambda: np.empty((0, 4), np.uint64))

    def add(self, found: Mapping[str, str]) -> None:
        self.ids.extend(found)
        self.bits = np.concatenate([self.bits, as_bits(list(found.values()))])

    def near(self, found: Mapping[str, str], *, is_test: bool) -> list[NearDuplicate]:
        """Which of those here are nearly like one of `found`; is_test: whether `found` are test samples.

        Sketches can only be near whose numbers of set bits are: only those are compared.
        """
        wanted, new = as_bits(list(found.values())), list(found)
        mine, theirs = _set_bits(wanted), _set_bits(self.bits)
        order = np.argsort(theirs, kind="stable")
        known, theirs = self.bits[order], theirs[order]
        pairs: list[tuple[int, int, int]] = []
        for count in np.unique(mine):
            rows = np.flatnonzero(mine == count)
            first = int(np.searchsorted(theirs, count - DISTANCE_MAX, "left"))
            last = int(np.searchsorted(theirs, count + DISTANCE_MAX, "right"))
            at_once = max(1, COMPARED_AT_ONCE // max(1, last - first))
            for start in range(0, len(rows), at_once):
                some = rows[start : start + at_once]
                for here, there, distance in _near_pairs(
                    wanted[some], known[first:last], TOLD_MAX - len(pairs)
                ):
                    pairs.append((int(some[here]), int(order[first + there]), distance))
        told: list[NearDuplicate] = []
        for here, there, distance in sorted(pairs):
            pair = new[here], self.ids[there]
            test_id, train_id = pair if is_test else pair[::-1]
            told.append(NearDuplicate(test_id, train_id, distance))
        return told


def _set_bits(bits: Bits) -> npt.NDArray[np.int64]:
    counts: npt.NDArray[np.int64] = np.bitwise_count(bits).sum(axis=1, dtype=np.int64)
    return counts


def _near_pairs(some: Bits, others: Bits, limit: int) -> list[tuple[int, int, int]]:
    """At most so many (place in `some`, place in `others`, distance) of those that are near."""
    in_the_middle = sum(np.bitwise_count(some[:, None, word] ^ others[None, :, word]) for word in MIDDLE)
    mine, theirs = np.nonzero(in_the_middle <= DISTANCE_MAX)
    distances = _set_bits(some[mine] ^ others[theirs])
    # A thin stroke sets few bits, and all thin strokes set nearly the same ones.
    allowed = _set_bits(some[mine] | others[theirs]) // BITS_PER_DIFFERENCE
    near = np.flatnonzero(distances <= np.minimum(DISTANCE_MAX, allowed))[:limit]
    return list(zip(mine[near].tolist(), theirs[near].tolist(), distances[near].tolist(), strict=True))


def as_bits(sketches: Sequence[str]) -> Bits:
    """uint64[N, 4] of hexadecimal[64]."""
    data = bytes.fromhex("".join(sketches))
    return np.frombuffer(data, np.uint64).reshape(-1, 4)
