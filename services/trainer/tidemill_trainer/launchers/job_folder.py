"""A training job as files in a folder: what goes in, how far it is, what comes out."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tidemill_contracts.model_spec import ModelSpec

from tidemill_trainer.launchers.launcher import TrainingJob
from tidemill_trainer.recipes.recipe import Examples, Score, State, Weights

JOB, STATE, WEIGHTS, EPOCHS, FAILURE = "job.json", "state.npz", "weights.npz", "epochs", "failure.txt"
_TEXTS, _ENDS = "texts", "ends"


def write_job(folder: Path, job: TrainingJob, state: State | None) -> None:
    """Put everything into the folder that a training needs. state: where an earlier try stood."""
    for name, examples in (("train", job.train), ("tuning", job.tuning)):
        _write(folder / f"{name}.npz", {**_packed(examples.inputs), "targets": examples.targets})
    if job.start is not None:
        _write(folder / "start.npz", _numbered(job.start))
    if state is not None:
        write_state(folder, state)
    (folder / EPOCHS).mkdir(exist_ok=True)
    document = {"spec": job.spec.model_dump(mode="json"), "seed": job.seed}
    _replace(folder / JOB, json.dumps(document).encode())


def read_job(folder: Path) -> TrainingJob:
    """What `write_job` wrote."""
    document = json.loads((folder / JOB).read_bytes())
    start = _listed(_read(folder / "start.npz")) if (folder / "start.npz").exists() else None
    train, tuning = (_examples(_read(folder / f"{name}.npz")) for name in ("train", "tuning"))
    return TrainingJob(ModelSpec.model_validate(document["spec"]), start, train, tuning, document["seed"])


def write_state(folder: Path, state: State) -> None:
    _write(folder / STATE, state)


def read_state(folder: Path) -> State | None:
    return _read(folder / STATE) if (folder / STATE).exists() else None


def write_epoch(folder: Path, number: int, tuning: Score, train_loss: float) -> None:
    arrays = {"merits": tuning.merits, "losses": tuning.losses, "predicted": tuning.predicted}
    _write(folder / EPOCHS / f"{number:06d}.npz", {**arrays, "train_loss": np.array(train_loss)})


def read_epochs(folder: Path, after: int) -> list[tuple[int, Score, float]]:
    """The epochs behind `after`, in order."""
    found = []
    for path in sorted((folder / EPOCHS).glob("*.npz")):
        if int(path.stem) > after:
            each = _read(path)
            score = Score(each["merits"], each["losses"], each["predicted"])
            found.append((int(path.stem), score, float(each["train_loss"])))
    return found


def write_weights(folder: Path, weights: Weights) -> None:
    _write(folder / WEIGHTS, _numbered(weights))


def read_weights(folder: Path) -> Weights | None:
    return _listed(_read(folder / WEIGHTS)) if (folder / WEIGHTS).exists() else None


def _packed(inputs: npt.NDArray[Any]) -> dict[str, npt.NDArray[Any]]:
    """Texts are packed end to end: files of ours hold no pickles."""
    if inputs.dtype != object:
        return {"inputs": inputs}
    ends = np.cumsum([len(text) for text in inputs], dtype=np.int64)
    return {_TEXTS: np.frombuffer(b"".join(inputs), np.uint8), _ENDS: ends}


def _examples(arrays: Mapping[str, npt.NDArray[Any]]) -> Examples:
    if "inputs" in arrays:
        return Examples(arrays["inputs"], arrays["targets"])
    whole, ends = arrays[_TEXTS].tobytes(), arrays[_ENDS].tolist()
    texts = np.empty(len(ends), object)
    texts[:] = [whole[start:end] for start, end in zip([0, *ends], ends, strict=False)]
    return Examples(texts, arrays["targets"])


def _numbered(weights: Weights) -> dict[str, npt.NDArray[Any]]:
    return {f"{index:04d}": array for index, array in enumerate(weights)}


def _listed(arrays: Mapping[str, npt.NDArray[Any]]) -> Weights:
    return [arrays[name] for name in sorted(arrays)]


def _write(path: Path, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **dict(arrays))
    _replace(path, buffer.getvalue())


def _read(path: Path) -> dict[str, npt.NDArray[Any]]:
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def _replace(path: Path, data: bytes) -> None:
    """Whole or not at all, whoever looks and whenever the writer dies."""
    draft = path.with_suffix(".draft")
    draft.write_bytes(data)
    os.replace(draft, path)
