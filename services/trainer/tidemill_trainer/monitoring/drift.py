"""How far a population has moved from the one that a version was trained on. Pure.

The population stability index sums (now − then) · ln(now / then) over the bins of one feature. Below 0.1 is
commonly taken for the same population, above 0.25 for another (Siddiqi, Credit Risk Scorecards, 2006).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

BINS = 10
SHARE_MIN = 1e-4
"""An empty bin counts as this share, so that the index stays finite."""
CATEGORIES_MAX = 50
"""Of one feature; the rarer ones count as one."""
FEATURES_MAX = 200
REMEMBERED_MAX = 2000
"""Inputs that a reference is made of, evenly taken."""

Reference = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Drift:
    """One index. subject: inputs or predictions. name: the feature, the class, or 'all' classes."""

    subject: str
    name: str
    psi: float


def features(inputs: npt.NDArray[Any]) -> dict[str, npt.NDArray[Any]]:
    """What is watched of inputs, by name, float[N] or text[N].

    Images: brightness and contrast. Texts: length in bytes and in words. Rows: every column.
    """
    if inputs.dtype.names:
        names = inputs.dtype.names[:FEATURES_MAX]
        return {name: inputs[name] for name in names if inputs[name].ndim == 1}
    if inputs.ndim >= 3:
        flat = inputs.reshape(len(inputs), -1)
        return {"brightness": flat.mean(axis=1), "contrast": flat.std(axis=1)}
    if inputs.ndim == 2:
        return {f"column {place}": inputs[:, place] for place in range(min(inputs.shape[1], FEATURES_MAX))}
    texts = [bytes(each) if isinstance(each, bytes) else str(each).encode() for each in inputs.tolist()]
    counts = {"bytes": [len(each) for each in texts], "words": [len(each.split()) for each in texts]}
    return {name: np.array(each, np.float64) for name, each in counts.items()}


def describe(values: npt.NDArray[Any]) -> dict[str, Any]:
    """What must be remembered of a feature: shares by bin, or by category; fit for JSON."""
    if _is_number(values):
        known = values[np.isfinite(values.astype(np.float64))].astype(np.float64)
        quantiles = np.quantile(known, np.linspace(0, 1, BINS + 1)[1:-1]) if len(known) else np.zeros(0)
        edges = sorted(set(quantiles.tolist()))
        return {"edges": edges, "shares": _shares(values, edges)}
    texts, counts = np.unique(values.astype(str), return_counts=True)
    order = np.argsort(-counts)[:CATEGORIES_MAX]
    shares = {str(texts[place]): float(counts[place] / len(values)) for place in sorted(order.tolist())}
    return {"categories": shares}


def measure(values: npt.NDArray[Any], then: Mapping[str, Any]) -> float:
    """The index of a feature's values now against what `describe` said of it then."""
    if "edges" in then:
        return psi(np.array(_shares(values, then["edges"])), np.array(then["shares"]))
    known: dict[str, float] = then["categories"]
    texts = values.astype(str)
    now = [float((texts == each).mean()) for each in known]
    old = list(known.values())
    return psi(np.array([*now, 1 - sum(now)]), np.array([*old, 1 - sum(old)]))


def reference(inputs: npt.NDArray[Any], predicted: npt.NDArray[Any], labels: tuple[str, ...]) -> Reference:
    """What a version remembers of the inputs it was trained on, and of its predictions on others."""
    some = inputs[:: max(1, len(inputs) // REMEMBERED_MAX)]
    found: Reference = {"inputs": {name: describe(each) for name, each in features(some).items()}}
    found["predictions"] = {"all": describe(_named(predicted, labels))}
    return found


def compare(
    inputs: npt.NDArray[Any], predicted: npt.NDArray[Any], labels: tuple[str, ...], then: Mapping[str, Any]
) -> list[Drift]:
    """Every index of today's inputs and predictions against a version's reference."""
    now = features(inputs)
    found = [
        Drift("inputs", name, measure(now[name], known))
        for name, known in then.get("inputs", {}).items()
        if name in now
    ]
    known = then.get("predictions", {}).get("all")
    if known is not None:
        said = _named(predicted, labels)
        found.append(Drift("predictions", "all", measure(said, known)))
        for label, share in known.get("categories", {}).items():
            term = psi(np.array([float((said == label).mean())]), np.array([share]))
            found.append(Drift("predictions", label, term))
    return found


def psi(now: npt.NDArray[np.float64], then: npt.NDArray[np.float64]) -> float:
    """The index of two distributions over the same bins."""
    now, then = np.maximum(now, SHARE_MIN), np.maximum(then, SHARE_MIN)
    return float(np.sum((now - then) * np.log(now / then)))


def _named(predicted: npt.NDArray[Any], labels: tuple[str, ...]) -> npt.NDArray[Any]:
    return np.array(labels)[predicted] if labels and not _is_float(predicted) else predicted


def _shares(values: npt.NDArray[Any], edges: list[float]) -> list[float]:
    """Shares of the bins between the edges, and of what is no number in the end."""
    numbers = values.astype(np.float64)
    finite = np.isfinite(numbers)
    places = np.searchsorted(np.array(edges), numbers[finite], side="right")
    counts = np.bincount(places, minlength=len(edges) + 1)
    return [*(counts / max(1, len(values))).tolist(), float((~finite).mean()) if len(values) else 0.0]


def _is_number(values: npt.NDArray[Any]) -> bool:
    return values.dtype.kind in "fiub"


def _is_float(values: npt.NDArray[Any]) -> bool:
    return values.dtype.kind == "f"
