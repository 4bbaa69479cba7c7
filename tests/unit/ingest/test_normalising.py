"""Images become what models want, or a sentence why not."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageStat, PngImagePlugin
from tidemill_contracts.errors import InvalidInput, Overloaded
from tidemill_contracts.model_spec import ImageInput
from tidemill_ingest import images, normalising
from tidemill_ingest.budget import Budget
from tidemill_ingest.normalising import is_bare_png, normalise

Encode = Callable[..., bytes]
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
GREY_28 = ImageInput(height=28, width=28, channels=1)


def normalised(data: bytes, wanted: ImageInput | None = None) -> Image.Image:
    return Image.open(io.BytesIO(normalise(data, wanted, Budget("pixels", 10**8))))


def test_a_png_that_conforms_is_returned_unchanged(digit: bytes) -> None:
    assert normalise(digit, GREY_28, Budget("pixels", 10**8)) is digit


@pytest.mark.parametrize("changed", ["text", "appended", "mode", "size"])
def test_a_png_that_is_anything_else_is_made_anew(encode: Encode, digit: bytes, changed: str) -> None:
    grey = Image.open(io.BytesIO(digit))
    notes = PngImagePlugin.PngInfo()
    notes.add_text("GPS", "52.5 N 13.4 E")
    data = {
        "text": encode(grey, pnginfo=notes),
        "appended": digit + b"and a zip",
        "mode": encode(grey.convert("RGB")),
        "size": encode(grey.resize((30, 28))),
    }[changed]

    made = normalise(data, GREY_28, Budget("pixels", 10**8))

    assert made != data
    assert is_bare_png(made)
    image = Image.open(io.BytesIO(made))
    assert (image.mode, image.size) == ("L", (28, 28))


def test_a_damaged_png_that_would_conform_is_refused(digit: bytes) -> None:
    middle = len(digit) // 2
    damaged = digit[:middle] + bytes([digit[middle] ^ 0xFF]) + digit[middle + 1 :]

    with pytest.raises(InvalidInput, match=r"damaged|not an image"):
        normalised(damaged, GREY_28)


def test_position_and_profile_do_not_reach_the_result(encode: Encode) -> None:
    exif = Image.Exif()
    exif[0x8825] = {1: "N", 2: (52.0, 31.0, 12.0)}
    photo = encode(Image.new("RGB", (64, 64), "teal"), "JPEG", exif=exif, icc_profile=b"profile" * 20)

    assert is_bare_png(normalise(photo, None, Budget("pixels", 10**8)))


@pytest.mark.parametrize("turn", range(1, 9))
def test_images_are_turned_as_their_exif_says(encode: Encode, turn: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = turn
    photo = Image.new("RGB", (300, 200), "white")
    photo.paste("black", (0, 0, 150, 100))
    jpeg = encode(photo, "JPEG", exif=exif, quality=95)

    made = normalised(jpeg, ImageInput(height=20, width=30, channels=1))

    dark = {1: "tl", 2: "tr", 3: "br", 4: "bl", 5: "tl", 6: "tr", 7: "br", 8: "bl"}[turn]
    assert made.size == (30, 20)
    assert [name for name, mean in quadrant_means(made).items() if mean < 128] == [dark]


def quadrant_means(image: Image.Image) -> dict[str, float]:
    across, down = image.width // 2, image.height // 2
    corners = {"tl": (0, 0), "tr": (across, 0), "bl": (0, down), "br": (across, down)}
    return {
        name: ImageStat.Stat(image.crop((x, y, x + across, y + down))).mean[0]
        for name, (x, y) in corners.items()
    }


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P", "I;16", "1", "CMYK"])
def test_shrinking_band_by_band_gives_what_shrinking_whole_gives(
    encode: Encode, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    gradient = Image.radial_gradient("L").resize((1501, 1103)).convert("RGB")
    source = gradient.convert("L").convert(mode) if mode == "I;16" else gradient.convert(mode)
    data = encode(source, "TIFF" if mode in {"I;16", "CMYK"} else "PNG")
    monkeypatch.setattr(normalising, "REDUCING_GAP", 10**6)
    whole = normalised(data, ImageInput(height=30, width=40, channels=3))
    monkeypatch.setattr(normalising, "REDUCING_GAP", 2)
    monkeypatch.setattr(normalising, "BAND_PIXELS", 40_000)

    banded = normalised(data, ImageInput(height=30, width=40, channels=3))

    difference = Image.frombytes(
        "L", (40 * 3, 30), bytes(abs(a - b) for a, b in zip(whole.tobytes(), banded.tobytes(), strict=True))
    )
    assert ImageStat.Stat(difference).mean[0] < 3


def test_sixteen_bit_grey_is_scaled_and_not_clipped(encode: Encode) -> None:
    grey = Image.new("I;16", (8, 8), 0x8080)

    made = normalised(encode(grey), ImageInput(height=8, width=8, channels=1))

    assert made.getpixel((3, 3)) == 0x80


def test_transparency_is_laid_on_white(encode: Encode) -> None:
    glass = Image.new("RGBA", (8, 8), (255, 0, 0, 0))

    assert normalised(encode(glass)).getpixel((3, 3)) == (255, 255, 255)


def test_thirty_two_bit_channels_are_refused(encode: Encode) -> None:
    with pytest.raises(InvalidInput, match="32 bits"):
        normalised(encode(Image.new("F", (8, 8)), "TIFF"))


def test_an_icon_that_hides_a_larger_png_is_refused(encode: Encode) -> None:
    hidden = encode(Image.new("1", (11_000, 11_000)))
    entry = bytes([16, 16, 0, 0]) + (1).to_bytes(2, "little") + (32).to_bytes(2, "little")
    place = len(hidden).to_bytes(4, "little") + (22).to_bytes(4, "little")
    icon = bytes([0, 0, 1, 0, 1, 0]) + entry + place + hidden

    with pytest.raises(InvalidInput, match="pixels"):
        normalised(icon)


def test_webp_has_a_limit_of_its_own_because_its_decoder_is_greedy(
    encode: Encode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "WEBP_PIXELS_MAX", 60)

    with pytest.raises(InvalidInput, match="8 × 8 pixels is over the limit of 60 pixels"):
        normalised(encode(Image.new("RGB", (8, 8)), "WEBP"))
    assert normalised(encode(Image.new("RGB", (8, 8)), "JPEG")).size == (8, 8)


def test_who_decodes_too_much_at_once_is_told_to_come_again(
    encode: Encode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(normalising, "DECODE_WAIT_S_MAX", 0.01)
    pixels = Budget("pixels to decode", 1000)
    image = encode(Image.new("L", (30, 30)))

    with pixels.taken(500, 0.0), pytest.raises(Overloaded, match="pixels to decode"):
        normalise(image, None, pixels)

    assert normalise(image, None, pixels)


def test_a_budget_serves_who_asks_first() -> None:
    budget = Budget("things", 10)
    order: list[str] = []
    asking = threading.Semaphore(0)

    def take(name: str, amount: int) -> None:
        asking.release()
        with budget.taken(amount, wait_s=5.0):
            order.append(name)

    large = threading.Thread(target=take, args=("large", 10))
    small = threading.Thread(target=take, args=("small", 1))
    with budget.taken(5, 0.0):
        large.start()
        asking.acquire()
        while not budget.waiting():
            asking.acquire(timeout=0.01)
        small.start()
        asking.acquire()
        with pytest.raises(Overloaded):
            budget.taken(1, wait_s=0.0).__enter__()
    large.join(5.0)
    small.join(5.0)

    assert order == ["large", "small"]


def test_awkward_images_are_converted_or_refused_as_their_manifest_says(
    data_folder: Path, awkward: dict[str, Any]
) -> None:
    data = (data_folder / "awkward_images" / awkward["file"]).read_bytes()

    try:
        made = normalised(data)
    except InvalidInput:
        assert awkward["expect"] in {"reject", "either"}
        return

    assert awkward["expect"] in {"convert", "either"}
    if awkward.get("mean_rgb_on_white"):
        assert made.size == tuple(awkward["upright_size"])
        assert near(ImageStat.Stat(made).mean, awkward["mean_rgb_on_white"])
    for name, (x, y) in {"tl": (0, 0), "tr": (1, 0), "bl": (0, 1), "br": (1, 1)}.items():
        if awkward.get("quadrants_rgb"):
            across, down = made.width // 2, made.height // 2
            quadrant = made.crop((x * across, y * down, (x + 1) * across, (y + 1) * down))
            assert near(ImageStat.Stat(quadrant).mean, awkward["quadrants_rgb"][name])


def near(found: list[float], expected: list[float]) -> bool:
    return all(abs(a - b) <= 4 for a, b in zip(found, expected, strict=True))
