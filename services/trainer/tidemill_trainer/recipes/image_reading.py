"""Reads encoded images inside a TensorFlow graph: one way for training and serving."""

from __future__ import annotations

from typing import Any

from tidemill_contracts.model_spec import ImageInput

from tidemill_trainer.recipes.runtime import tf

PIXELS_MAX = 4096 * 4096
"""An image that says it is larger is refused before memory is taken for it."""
PARALLEL_IMAGES = 4
_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8\xff"
_HEADER_BYTES = 24


def read_images(encoded: Any, size: ImageInput) -> Any:
    """uint8[batch, height, width, channels] of string[batch], each a whole PNG or JPEG file.

    Colours become grey or grey becomes RGB as `size.channels` says; other sizes are resized, without keeping
    the proportions.

    Raises:
        tf.errors.InvalidArgumentError: one of them is something else, broken, or over PIXELS_MAX.
    """
    return tf.map_fn(
        lambda one: _read_image(one, size),
        encoded,
        fn_output_signature=tf.TensorSpec([size.height, size.width, size.channels], tf.uint8),
        parallel_iterations=PARALLEL_IMAGES,
    )


def _read_image(encoded: Any, size: ImageInput) -> Any:
    with tf.control_dependencies([_check_size(encoded)]):
        pixels = tf.io.decode_image(
            tf.identity(encoded), channels=size.channels, expand_animations=False, dtype=tf.uint8
        )
    target = [size.height, size.width]
    resized = tf.cond(
        tf.reduce_all(tf.shape(pixels)[:2] == target),
        lambda: pixels,
        lambda: tf.cast(tf.round(tf.image.resize(pixels, target, antialias=True)), tf.uint8),
    )
    return tf.ensure_shape(resized, [size.height, size.width, size.channels])


def _check_size(encoded: Any) -> Any:
    """Fail unless the header is a PNG's or a JPEG's and names a size within the limit."""
    header = tf.strings.substr(encoded + b"\0" * _HEADER_BYTES, 0, _HEADER_BYTES)
    is_png = tf.strings.substr(header, 0, len(_PNG)) == _PNG
    is_jpeg = tf.strings.substr(header, 0, len(_JPEG)) == _JPEG
    known = tf.debugging.Assert(is_png | is_jpeg, ["an image is neither a PNG nor a JPEG file"])
    with tf.control_dependencies([known]):
        sides = tf.cond(is_png, lambda: _png_sides(header), lambda: _jpeg_sides(encoded))
    area = tf.reduce_prod(sides)
    fits = (area > 0) & (area <= PIXELS_MAX)
    return tf.debugging.Assert(fits, ["an image has no pixels or more than", PIXELS_MAX])


def _png_sides(header: Any) -> Any:
    """int64[2]: width and height stand big-endian at byte 16 (PNG specification, 11.2.2 IHDR)."""
    sides = tf.io.decode_raw(tf.strings.substr(header, 16, 8), tf.int32, little_endian=False)
    return tf.cast(tf.ensure_shape(sides, [2]), tf.int64)


def _jpeg_sides(encoded: Any) -> Any:
    return tf.cast(tf.io.extract_jpeg_shape(encoded)[:2], tf.int64)
