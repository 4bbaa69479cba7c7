"""A model for the trainer under torture: quick, without TensorFlow, and better round after round for a while.

It is a kind of its own by entry point, which only the trainer of a torture finds: `install` lays the
package's metadata into a folder of the torture's, as pip would.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import yaml
from tidemill_contracts.golden import Golden, GoldenInput, GoldenOutput
from tidemill_contracts.samples import Sample

from tidemill.torture.messages import DATASET, LABELS

MODEL = "torture"
KIND = "torture_texts"
SPEC: Mapping[str, Any] = {
    "name": MODEL,
    "kind": KIND,
    "dataset": DATASET,
    "labels": list(LABELS),
    "seed": 1,
    "round": {"samples_min": 200, "samples_max": 2000, "age_s_max": 1.0},
    "training": {"epochs_max": 3, "rehearsal_ratio": 0.5},
    "gate": {
        "gain_min": 0.0,
        "significance": 1.0,
        "class_drop_max": 1.0,
        "agreement_min": 0.0,
        "control_every": 4,
    },
    "retry": {"every_s": 2.0, "widening": 1.0, "samples_min": 50, "attempts_max": 2},
    "test": {"every_s": 4.0},
}
_DIGITS = "0123456789abcdef"
STEP = 0.5

Array = npt.NDArray[Any]


def install(folder: Path) -> None:
    """Lay the model's YAML into `folder/models` and the kind's metadata into `folder/kinds`."""
    models, kinds = folder / "models", folder / "kinds"
    models.mkdir(parents=True)
    (models / f"{MODEL}.yaml").write_text(yaml.safe_dump(dict(SPEC)))
    metadata = kinds / "tidemill_torture_kind-1.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: tidemill-torture-kind\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text(f"[tidemill.kinds]\n{KIND} = {__name__}:TortureTexts\n")


@dataclass(frozen=True, eq=False)
class Score:
    """As the trainer's own; the command line imports no service."""

    merits: Array
    losses: Array
    predicted: Array

    @property
    def accuracy(self) -> float:
        return float(self.merits.mean())

    @property
    def loss(self) -> float:
        return float(self.losses.mean())

    @property
    def measures(self) -> dict[str, float]:
        return {"accuracy": self.accuracy, "loss": self.loss}


class TortureTexts:
    """Softmax regression on the hexadecimal digit with which a text begins, in small steps."""

    def __init__(self, spec: Any) -> None:
        self._labels: tuple[str, ...] = spec.labels
        self._epochs: int = spec.training.epochs_max

    def faults(self, samples: Sequence[Sample]) -> list[str | None]:
        return [None if (sample.text or "x")[0] in _DIGITS else "no such text" for sample in samples]

    def read(self, samples: Sequence[Sample]) -> Array:
        places = [_DIGITS.index((sample.text or "")[0]) for sample in samples]
        found: Array = np.eye(len(_DIGITS))[places].reshape(-1, len(_DIGITS))
        return found

    def targets(self, labels: Sequence[str]) -> Array:
        return np.array([self._labels.index(label) for label in labels], np.int64)

    def train(
        self, start: list[Array] | None, train: Any, tuning: Any, *, seed: int, watch: Any
    ) -> list[Array]:
        weights = start[0].copy() if start else np.random.default_rng(seed).normal(0, 0.1, self._shape)
        kept, done = watch.kept(), 0
        if kept is not None:
            weights, done = kept["weights"].copy(), int(kept["epoch"])
        wanted = np.eye(len(self._labels))[train.targets]
        for epoch in range(done + 1, self._epochs + 1):
            watch.step()
            wrong = np.exp(self._answers(weights, train.inputs)) - wanted
            weights -= STEP * train.inputs.T @ wrong / max(1, len(train))
            watch.keep({"weights": weights, "epoch": np.array(epoch)})
            watch.epoch(epoch, self.score([weights], tuning), train_loss=0.0)
        return [weights]

    def score(self, weights: list[Array], examples: Any) -> Score:
        answers = self._answers(weights[0], examples.inputs)
        predicted = answers.argmax(axis=1).astype(np.int64)
        losses = -answers[np.arange(len(examples.targets)), examples.targets]
        return Score((predicted == examples.targets).astype(np.float64), losses, predicted)

    def fits(self, weights: list[Array]) -> bool:
        return [each.shape for each in weights] == [self._shape]

    def golden(self, weights: list[Array], samples: Sequence[Sample]) -> Golden:
        inputs = self.read(samples)
        answers = np.exp(self._answers(weights[0], inputs))
        given = GoldenInput(dtype="float64", shape=inputs.shape, values=tuple(inputs.ravel().tolist()))
        output = GoldenOutput(shape=answers.shape, values=tuple(answers.ravel().tolist()))
        return Golden(inputs={"digits": given}, outputs={"probabilities": output})

    def export(self, weights: list[Array], folder: Path) -> None:
        """Nobody serves it: the files stand for a SavedModel's, so that there is something to publish."""
        (folder / "variables").mkdir()
        (folder / "variables" / "weights").write_bytes(weights[0].tobytes())
        (folder / "saved_model.pb").write_bytes(b"torture")

    @property
    def _shape(self) -> tuple[int, int]:
        return len(_DIGITS), len(self._labels)

    def _answers(self, weights: Array, inputs: Array) -> Array:
        """Log probabilities."""
        raised = inputs @ weights
        raised = raised - raised.max(axis=1, keepdims=True)
        found: Array = raised - np.log(np.exp(raised).sum(axis=1, keepdims=True))
        return found
