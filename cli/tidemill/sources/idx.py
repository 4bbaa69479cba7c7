"""Reads IDX files, the form in which MNIST is published: http://yann.lecun.com/exdb/mnist/."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Iterator
from pathlib import Path

from tidemill_contracts.errors import InvalidInput, NotFound
from tidemill_contracts.samples import Split

from tidemill.sources.raw_sample import RawSample, png_of_grey

PARTS: dict[Split, str] = {"train": "train", "test": "t10k"}
_IMAGES_MAGIC = 2051
_LABELS_MAGIC = 2049
FILE_BYTES_MAX = 2**31


def count_idx(folder: Path, split: Split) -> int:
    """How many samples a split has."""
    return len(_labels(folder, split))


def read_idx(folder: Path, split: Split) -> Iterator[RawSample]:
    """The samples of a split in file order, gzipped or not.

    Raises:
        NotFound: a file is missing; the text says which.
        InvalidInput: a file is not IDX, or images and labels differ in number.
    """
    labels = _labels(folder, split)
    path, content = _file(folder, f"{PARTS[split]}-images-idx3-ubyte")
    magic, count, height, width = struct.unpack(">4I", content[:16])
    size_bytes = height * width
    if magic != _IMAGES_MAGIC or len(content) != 16 + count * size_bytes:
        raise InvalidInput(f"{path} is not a whole IDX file of images")
    if count != len(labels):
        raise InvalidInput(f"{path} has {count} images, but there are {len(labels)} labels")
    for index, label in enumerate(labels):
        start = 16 + index * size_bytes
        pixels = content[start : start + size_bytes]
        yield RawSample(
            label=str(label),
            identity=struct.pack(">2I", height, width) + pixels,
            source=f"idx:{PARTS[split]}-images-idx3-ubyte",
            split=split,
            image=png_of_grey(pixels, width=width, height=height),
        )


def _labels(folder: Path, split: Split) -> bytes:
    path, content = _file(folder, f"{PARTS[split]}-labels-idx1-ubyte")
    magic, count = struct.unpack(">2I", content[:8])
    if magic != _LABELS_MAGIC or len(content) != 8 + count:
        raise InvalidInput(f"{path} is not a whole IDX file of labels")
    return content[8:]


def _file(folder: Path, name: str) -> tuple[Path, bytes]:
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            with path.open("rb") as raw:
                zipped = raw.read(2) == b"\x1f\x8b"
            try:
                with gzip.open(path) if zipped else path.open("rb") as file:
                    content = file.read(FILE_BYTES_MAX)
            except (OSError, EOFError) as error:
                raise InvalidInput(f"{path} cannot be read: {error}") from error
            if (len(content) < 16 and "images" in name) or len(content) < 8:
                raise InvalidInput(f"{path} is too short for an IDX file")
            return path, content
    raise NotFound(f"there is no {name} or {name}.gz in {folder}")
