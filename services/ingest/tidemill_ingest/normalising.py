"""Brings an image to what a dataset's models want: upright, one size, grey or RGB, a plain PNG."""

from __future__ import annotations

import math

from PIL import Image
from tidemill_contracts.errors import InvalidInput
from tidemill_contracts.model_spec import ImageInput

from tidemill_ingest.budget import Budget
from tidemill_ingest.images import PIXELS_MAX, opened
from tidemill_ingest.png import SIGNATURE, write_png
from tidemill_ingest.resizing import resize

FREE_SIDE_MAX = 1024
"""The longer side of an image whose size no model decides."""
DECODE_WAIT_S_MAX = 20.0
BAND_PIXELS = 1_000_000
REDUCING_GAP = 2
"""Large images are first averaged down to about this many times the wanted size: quick, hardly visible."""
SIXTEEN_BIT = {"I;16", "I;16B", "I;16L", "I;16N"}
ORIENTATION = 0x0112
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
LYING = {5, 6, 7, 8}
PIXEL_CHUNKS = {b"IHDR", b"IDAT", b"IEND"}


def normalise(
    data: bytes, wanted: ImageInput | None, pixels: Budget, *, pixels_max: int = PIXELS_MAX
) -> bytes:
    """A PNG without metadata: of the wanted size and channels, else RGB of at most FREE_SIDE_MAX a side.

    The first frame, turned as its EXIF says, transparency laid on white, 16-bit grey scaled by 1/257. A
    wanted size is reached by stretching. A PNG that is all this already is returned unchanged.

    pixels: shared by everybody who decodes.

    Raises:
        InvalidInput: it is no image that is taken here; the text says why.
        Overloaded: too many pixels are being decoded at once.
    """
    mode = "L" if wanted is not None and wanted.channels == 1 else "RGB"
    with (
        opened(data, pixels_max=pixels_max) as image,
        pixels.taken(image.width * image.height, DECODE_WAIT_S_MAX),
    ):
        asked = (wanted.width, wanted.height) if wanted is not None else _free_size(image.size)
        if image.format == "PNG" and (image.mode, image.size) == (mode, asked) and is_bare_png(data):
            image.load()
            return data
        # A JPEG is decoded at half, a quarter or an eighth of its size where that is still enough: its blocks
        # average themselves. The result differs by 1.2 levels of 255, less than between two ways of scaling.
        came = image.size
        image.draft(None, (max(asked), max(asked)))
        image.load()
        turn = _orientation(image)
        lying = turn in LYING
        if wanted is None:
            asked = _free_size(image.size)
        elif lying:
            asked = (asked[1], asked[0])
        plain = _shrunk(image, mode, asked)
        if turn in TURNS:
            plain = plain.transpose(TURNS[turn])
        shrunk = plain.width * plain.height <= came[0] * came[1]
        return write_png(plain, photograph=image.format == "JPEG" and image.mode != "L" and shrunk)


def is_bare_png(data: bytes) -> bool:
    """Whether a PNG holds pixels and nothing else: no text, profile or position, nothing behind its end."""
    at = len(SIGNATURE)
    while at + 12 <= len(data):
        length, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        if kind not in PIXEL_CHUNKS:
            return False
        at += 12 + length
        if kind == b"IEND":
            return at == len(data)
    return False


def _free_size(size: tuple[int, int]) -> tuple[int, int]:
    scale = min(1.0, FREE_SIDE_MAX / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _orientation(image: Image.Image) -> int:
    """How the image must be turned; a broken EXIF block says nothing."""
    try:
        return int(image.getexif().get(ORIENTATION, 1))
    except Exception:  # noqa: BLE001  (parsers of EXIF raise a dozen kinds; the pixels are what counts)
        return 1


def _shrunk(image: Image.Image, mode: str, size: tuple[int, int]) -> Image.Image:
    """The image in `mode` and `size`.

    Large images are flattened and averaged band by band: a whole copy of 50 megapixels in RGBA is 200 MB, and
    flattening needs three.
    """
    factor = tuple(max(1, have // want // REDUCING_GAP) for have, want in zip(image.size, size, strict=True))
    across, down = factor
    if factor == (1, 1):
        plain = _plain(image, mode)
        return plain if plain.size == size else resize(plain, size)
    reduced = Image.new(mode, (math.ceil(image.width / across), math.ceil(image.height / down)))
    rows = max(1, BAND_PIXELS // image.width // down) * down
    for top in range(0, image.height, rows):
        band = image.crop((0, top, image.width, min(top + rows, image.height)))
        reduced.paste(_plain(band, mode).reduce((across, down)), (0, top // down))
    box = (0.0, 0.0, image.width / across, image.height / down)
    return resize(reduced, size, box=box)


def _plain(image: Image.Image, mode: str) -> Image.Image:
    """The same pixels in `mode`, opaque, 8 bit."""
    if image.mode in SIXTEEN_BIT or (image.mode == "I" and image.format == "PPM"):
        return image.point(lambda value: value * (1 / 257) + 0.5).convert("L").convert(mode)
    if image.mode in {"I", "F"}:
        raise InvalidInput("32 bits a channel are not taken; send 8 or 16")
    if image.mode in {"RGBA", "RGBa", "LA", "La", "PA"} or "transparency" in image.info:
        clear = image.convert("RGBA")
        white = Image.new("RGB", image.size, "white")
        white.paste(clear, mask=clear.getchannel("A"))
        image = white
    return image if image.mode == mode else image.convert(mode)
