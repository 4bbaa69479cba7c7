"""Weights as a file: the same arrays give the same bytes."""

from __future__ import annotations

import hashlib
import io
import zipfile

import numpy as np
from tidemill_contracts.errors import Corrupt

from tidemill_trainer.recipes.recipe import Weights

PATH = "assets.extra/weights.npz"
"""Where the weights lie in a version's folder."""
ARRAYS_MAX = 10_000


def dump_weights(weights: Weights) -> bytes:
    """The arrays as an NPZ archive, numbered in order, without times or pickles."""
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **{f"{index:04d}": array for index, array in enumerate(weights)})
    return buffer.getvalue()


def load_weights(data: bytes, name: str) -> Weights:
    """The arrays of such an archive.

    Raises:
        Corrupt: it is none.
    """
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as archive:
            return [archive[key] for key in sorted(archive.files)[:ARRAYS_MAX]]
    except (ValueError, OSError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise Corrupt(f"{name} holds no weights: {error}") from error


def weights_digest(weights: Weights) -> str:
    """SHA-256 of shapes, types and values."""
    digest = hashlib.sha256()
    for array in weights:
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
