"""Opens encoded images safely: by header, format list and limits, before anything is decoded."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

# Named one by one: they register themselves, and `Image.open` then never searches for others. A file of
# several JPEGs, as cameras write (MPO), opens as JPEG.
from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    IcoImagePlugin,
    Image,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TiffImagePlugin,
    UnidentifiedImageError,
    WebPImagePlugin,
)
from tidemill_contracts.errors import InvalidInput, Overloaded, TidemillError

FORMATS = (
    PngImagePlugin.PngImageFile.format,
    JpegImagePlugin.JpegImageFile.format,
    GifImagePlugin.GifImageFile.format,
    BmpImagePlugin.BmpImageFile.format,
    WebPImagePlugin.WebPImageFile.format,
    TiffImagePlugin.TiffImageFile.format,
    PpmImagePlugin.PpmImageFile.format,
    IcoImagePlugin.IcoImageFile.format,
)
PIXELS_MAX = 50_000_000
SIDE_MAX = 32_768
WEBP_PIXELS_MAX = 25_000_000
"""WebP's decoder holds the picture three times: 49 megapixels took 750 MB, where others took 80 to 230."""

# A size that a decoder meets only inside the file (an icon holds whole PNGs) is an exception, not a warning.
Image.MAX_IMAGE_PIXELS = PIXELS_MAX
warnings.simplefilter("error", Image.DecompressionBombWarning)
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
logging.getLogger("PIL").setLevel(logging.CRITICAL)

_FOREIGN = (
    (4, b"ftyphei", "HEIC"),
    (4, b"ftypmif", "HEIF"),
    (4, b"ftypavif", "AVIF"),
    (4, b"jP  ", "JPEG 2000"),
    (0, b"8BPS", "Photoshop"),
    (0, b"%!PS", "PostScript"),
    (0, b"%PDF", "PDF"),
    (0, b"<svg", "SVG"),
    (0, b"<?xml", "XML"),
    (0, b"PK\x03\x04", "ZIP"),
)


@contextmanager
def opened(data: bytes, *, pixels_max: int = PIXELS_MAX) -> Iterator[Image.Image]:
    """The image, its header read and its size within limits; nothing decoded yet.

    Whatever a decoder raises inside the context comes out as InvalidInput: they raise a dozen kinds.

    Raises:
        InvalidInput: it is no image of FORMATS, over a limit, or damaged.
        Overloaded: there is no memory left.
    """
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            webp = image.format == WebPImagePlugin.WebPImageFile.format
            _check_size(image.size, min(pixels_max, WEBP_PIXELS_MAX) if webp else pixels_max)
            yield image
    except TidemillError:
        raise
    except MemoryError as error:
        raise Overloaded("there is no memory left to decode the image; try again later") from error
    except UnidentifiedImageError as error:
        raise InvalidInput(_not_taken(data)) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise InvalidInput(f"the image is over the limit of {pixels_max} pixels") from error
    except Exception as error:
        said = str(error) or type(error).__name__
        raise InvalidInput(f"the image is damaged: {said}") from error


def _check_size(size: tuple[int, int], pixels_max: int) -> None:
    width, height = size
    if width * height > pixels_max:
        raise InvalidInput(f"{width} × {height} pixels is over the limit of {pixels_max} pixels")
    if max(size) > SIDE_MAX:
        raise InvalidInput(f"{width} × {height} pixels is over the limit of {SIDE_MAX} a side")
    if min(size) < 1:
        raise InvalidInput(f"the image has no pixels: {width} × {height}")


def _not_taken(data: bytes) -> str:
    taken = ", ".join(FORMATS)
    for offset, magic, name in _FOREIGN:
        if data[offset : offset + len(magic)] == magic:
            return f"{name} files are not taken; send one of {taken}"
    return f"not an image, or a damaged one; send one of {taken}"
