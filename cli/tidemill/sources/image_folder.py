"""Reads images from a folder per label: ``cats/1.png``, ``dogs/2.jpg``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tidemill_contracts.errors import InvalidInput, NotFound
from tidemill_contracts.samples import Split

from tidemill.sources.raw_sample import RawSample

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".gif", ".bmp", ".webp", ".tif", ".tiff"})
FILE_BYTES_MAX = 20 * 2**20


def list_images(folder: Path) -> list[Path]:
    """Every image one folder below, by label and name.

    Raises:
        NotFound: there is none.
    """
    paths = sorted(path for path in folder.glob("*/*") if path.suffix.lower() in SUFFIXES and path.is_file())
    if not paths:
        raise NotFound(f"no image in {folder}: put them into a folder per label, such as {folder}/7/one.png")
    return paths


def read_folder(folder: Path, split: Split) -> Iterator[RawSample]:
    """Every image with its folder's name as label; raises as `list_images` does.

    Raises:
        InvalidInput: an image is over FILE_BYTES_MAX.
    """
    for path in list_images(folder):
        if path.stat().st_size > FILE_BYTES_MAX:
            raise InvalidInput(f"{path} is over {FILE_BYTES_MAX} bytes")
        content = path.read_bytes()
        yield RawSample(
            label=path.parent.name,
            identity=content,
            source=f"folder:{folder.absolute().name}",
            split=split,
            image=content,
        )
