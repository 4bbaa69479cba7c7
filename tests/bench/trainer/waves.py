"""Samples that come in ten waves: what is measured of each, how it is told and drawn."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from tidemill.sources.idx import read_idx
from tidemill_contracts.samples import Sample, Split, sample_id
from tidemill_registry.records import RoundRecord

HEAD = "wave |  seen | champion | CPU s | peak MB | rounds            | from scratch | CPU s"


@dataclass(frozen=True)
class Wave:
    """What one wave gave and cost.

    accuracy: the champion's on the test samples. rounds: kind and status of each that the wave woke.
    cpu_s: all that the trainer did, from indexing to the test. peak_mb: the process's largest while it did.
    """

    seen: int
    accuracy: float
    cpu_s: float
    peak_mb: float
    rounds: tuple[str, ...]


@dataclass(frozen=True)
class Scratch:
    """A training from nothing on all samples so far."""

    accuracy: float
    cpu_s: float


def tell(number: int, wave: Wave, scratch: Scratch | None) -> str:
    """A row under HEAD."""
    rounds = ", ".join(wave.rounds)
    beside = f"{scratch.accuracy:12.4f} | {scratch.cpu_s:5.0f}" if scratch else f"{'':12} |"
    return (
        f"{number:4d} | {wave.seen:5d} | {wave.accuracy:8.4f} | {wave.cpu_s:5.1f} | {wave.peak_mb:7.0f} | "
        f"{rounds:17} | {beside}"
    )


def word(round_: RoundRecord) -> str:
    """A round in one word or two."""
    return round_.status if round_.kind == "new" else f"retry {round_.status}"


def draw(path: Path, name: str, waves: Sequence[Wave], scratch: Sequence[Scratch | None]) -> None:
    """The same as a picture: accuracy above, CPU so far below."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    seen = [each.seen for each in waves]
    figure, (above, below) = pyplot.subplots(2, 1, sharex=True, figsize=(7, 7))
    above.plot(seen, [each.accuracy for each in waves], "o-", label="in rounds")
    below.plot(seen, np.cumsum([each.cpu_s for each in waves]), "o-", label="in rounds")
    known = [(each, found) for each, found in zip(seen, scratch, strict=True) if found is not None]
    above.plot(
        [each for each, _ in known], [found.accuracy for _, found in known], "x--", label="from scratch"
    )
    if len(known) == len(seen):
        below.plot(
            seen, np.cumsum([found.cpu_s for _, found in known]), "x--", label="from scratch each time"
        )
    below.plot(
        [each for each, _ in known], [found.cpu_s for _, found in known], "x:", label="once from scratch"
    )
    above.set(title=name, ylabel="accuracy on the test samples")
    below.set(xlabel="samples so far", ylabel="CPU seconds so far")
    for axes in (above, below):
        axes.grid(alpha=0.3)
        axes.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110, bbox_inches="tight")
    pyplot.close(figure)


def mnist(folder: Path, split: Split, count: int) -> list[Sample]:
    """The first so many digits."""
    return [
        Sample(
            id=f"{split}-{place}", label=raw.label, image=base64.b64encode(raw.image or b"").decode("ascii")
        )
        for place, raw in enumerate(islice(read_idx(folder / "mnist", split), count))
    ]


def sentences(folder: Path, *, tenth: int) -> tuple[list[Sample], list[Sample]]:
    """Reviews of films, shuffled; and the tenth of them, by a hash of the text, that is held for testing."""
    found = [
        Sample(id=sample_id(line.strip().encode(), "reviews"), label=label, text=line.strip())
        for label in ("neg", "pos")
        for line in (folder / "sentiment_rt" / f"rt-polarity.{label}").read_text("latin-1").split("\n")
        if line.strip()
    ]
    order = [found[place] for place in np.random.default_rng(3).permutation(len(found))]
    held = [int(str(each.id)[:8], 16) % 10 == tenth for each in order]
    return (
        [each for each, out in zip(order, held, strict=True) if not out],
        [each for each, out in zip(order, held, strict=True) if out],
    )
