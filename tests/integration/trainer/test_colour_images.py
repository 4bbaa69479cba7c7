"""Colour images of another size need another YAML and nothing else."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from PIL import Image
from tidemill_contracts.model_spec import load_spec
from tidemill_contracts.samples import Sample
from tidemill_trainer.recipes import open_recipe
from tidemill_trainer.recipes.recipe import Examples

from tests.integration.trainer.kinds import Silent

YAML = """
name: inks
kind: image_classifier
dataset: inks
labels: [red, green, blue]
input: {height: 24, width: 40, channels: 3}
training: {epochs_max: 8, batch_size: 16, learning_rate: 0.003}
"""
COUNT = 360
LABELS = ("red", "green", "blue")


def _inked(digit: np.ndarray, ink: int, brightness: float) -> np.ndarray:
    """A digit in one ink on dark paper: as grey, an ink of another brightness looks the same."""
    paper = np.full((60, 100, 3), 20, np.uint8)
    strokes = np.asarray(Image.fromarray(digit).resize((100, 60)), np.float64)[..., None] / 255
    colour = np.full(3, 40.0)
    colour[ink] = 40 + 180 * brightness
    return (paper * (1 - strokes) + colour * strokes).astype(np.uint8)


def test_a_model_of_colour_images_learns_what_grey_would_hide(
    digits: Any, encoded: Callable[..., bytes], tmp_path: Path
) -> None:
    path = tmp_path / "inks.yaml"
    path.write_text(YAML)
    recipe = open_recipe(load_spec(path))
    random = np.random.default_rng(3)
    inks = random.integers(0, 3, COUNT)
    files = [
        encoded(_inked(digit, ink, random.uniform(0.3, 1)), *(("JPEG",) if place % 2 else ("PNG",)))
        for place, (digit, ink) in enumerate(zip(digits[0][:COUNT], inks, strict=True))
    ]
    samples = [
        Sample(label=LABELS[ink], image=base64.b64encode(file).decode())
        for file, ink in zip(files, inks, strict=True)
    ]
    every = Examples(recipe.read(samples), recipe.targets([sample.label for sample in samples]))
    train, held = every.take(np.arange(240)), every.take(np.arange(240, COUNT))

    weights = recipe.train(None, train, held, seed=1, watch=Silent())
    recipe.export(weights, tmp_path / "model")

    assert every.inputs.shape[1:] == (24, 40, 3)
    assert recipe.score(weights, held).accuracy > 0.9
    served = tf.saved_model.load(str(tmp_path / "model")).signatures
    from_files = served["serving_default"](image_bytes=tf.constant(files[240:260]))
    from_pixels = served["pixels"](pixels=tf.constant(held.inputs[:20]))
    np.testing.assert_array_equal(from_files["probabilities"].numpy(), from_pixels["probabilities"].numpy())
    right = [LABELS[ink].encode() for ink in inks[240:260]] == from_files["label"].numpy()
    assert np.mean(right) > 0.8
