"""Both ways of resizing give the same picture."""

from __future__ import annotations

import os

import pytest
from PIL import Image, ImageChops
from tidemill_ingest import resizing
from tidemill_ingest.resizing import resize

SIZES = [((320, 240), (224, 224)), ((640, 480), (96, 96)), ((120, 100), (224, 300)), ((3, 5000), (28, 28))]


@pytest.mark.skipif(resizing.simd is None, reason="there is no wheel for this machine")
@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("part", [1.0, 0.97])
@pytest.mark.parametrize(("before", "after"), SIZES)
def test_the_quick_way_differs_from_pillows_by_one_level_at_most(
    monkeypatch: pytest.MonkeyPatch,
    mode: str,
    part: float,
    before: tuple[int, int],
    after: tuple[int, int],
) -> None:
    noise = Image.frombytes(mode, before, os.urandom(before[0] * before[1] * len(mode)))
    box = (0.0, 0.0, before[0] * part, before[1] * part)

    quick = resize(noise, after, box=box)
    monkeypatch.setattr(resizing, "simd", None)
    slow = resize(noise, after, box=box)

    assert (quick.mode, quick.size) == (slow.mode, slow.size) == (mode, after)
    assert max(ImageChops.difference(quick, slow).tobytes()) <= 1
