"""Exports the digits network that every server is measured with: ``digits_model.py FOLDER``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import keras
import numpy as np
from keras import layers

SEED = 7
ROWS = 32


def build() -> keras.Model:
    """Two convolutions and a hidden layer, 32-64-128, as in TensorFlow's own tutorials. Not trained: weights
    do not change the speed."""
    keras.utils.set_random_seed(SEED)
    return keras.Sequential(
        [
            keras.Input((28, 28, 1), name="image"),
            layers.Conv2D(32, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(64, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(128, activation="relu"),
            layers.Dense(10, activation="softmax"),
        ]
    )


def main(folder: Path) -> None:
    """Write the model, and beside it the bodies of one and of 32 instances with their right answers."""
    model = build()
    model.export(folder / "1", format="tf_saved_model", verbose=False)
    model.save(folder / "digits.keras")
    chance = np.random.default_rng(SEED)
    digits = (chance.random((ROWS, 28, 28, 1)) * (chance.random((ROWS, 28, 28, 1)) > 0.8)).round(4)
    for count in (1, ROWS):
        rows = digits[:count]
        body = {"instances": rows.tolist()}
        (folder / f"body-{count}.json").write_text(json.dumps(body, separators=(",", ":")))
        right = model.predict(rows.astype(np.float32), verbose=0)
        (folder / f"right-{count}.json").write_text(json.dumps(right.tolist()))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
