"""Our own PNG holds the same pixels as the picture, and nothing else."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest
from PIL import Image
from tidemill_ingest import png
from tidemill_ingest.normalising import is_bare_png
from tidemill_ingest.png import write_png


@pytest.mark.parametrize("photograph", [False, True])
@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("size", [(1, 1), (28, 28), (3, 500), (500, 3), (224, 224)])
def test_the_pixels_come_back(mode: str, size: tuple[int, int], photograph: bool) -> None:
    pixels = os.urandom(size[0] * size[1] * len(mode))
    picture = Image.frombytes(mode, size, pixels)

    written = write_png(picture, photograph=photograph)

    with Image.open(io.BytesIO(written)) as read:
        assert (read.format, read.mode, read.size) == ("PNG", mode, size)
        assert read.tobytes() == pixels
    assert is_bare_png(written)


def test_a_plain_picture_is_packed() -> None:
    smooth = Image.linear_gradient("L").convert("RGB")

    assert len(write_png(smooth)) < 0.02 * 256 * 256 * 3


def test_what_is_no_photograph_whatever_was_said_of_it_is_packed_all_the_same() -> None:
    smooth = Image.linear_gradient("L").convert("RGB")

    assert write_png(smooth, photograph=True) == write_png(smooth)


@pytest.mark.skipif(png.quick is None, reason="there is no wheel for this machine")
def test_a_photograph_packed_quickly_is_hardly_larger(data_folder: Path) -> None:
    with Image.open(data_folder / "awkward_images" / "files" / "flower.jpg") as opened:
        photograph = opened.convert("RGB").resize((224, 168))

    quick, thorough = write_png(photograph, photograph=True), write_png(photograph)

    assert len(quick) < 1.1 * len(thorough)
    assert quick != thorough
    assert is_bare_png(quick)


def test_text_and_profiles_are_left_behind() -> None:
    picture = Image.new("RGB", (4, 4))
    picture.info = {"comment": "where I live", "icc_profile": b"profile", "transparency": (0, 0, 0)}

    assert b"where I live" not in write_png(picture)
    assert is_bare_png(write_png(picture))
