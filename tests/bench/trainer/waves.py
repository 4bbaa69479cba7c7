"""Samples that come in ten waves: what is measured of each, how it is kept, told and drawn.

`python -m tests.bench.trainer.waves .bench/waves-digits.json` tells and draws a result again.
"""

from __future__ import annotations

import base64
import json
import sys
from dataclasses import asdict, dataclass, field
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


@dataclass
class Result:
    """Everything that a run of the bench found, so far. scratch: by the number of samples it learnt from.

    once: everything in one round of the line itself, with all that belongs to a round.
    plain: TF-IDF with logistic regression on everything; sentences only.
    """

    name: str
    waves: list[Wave] = field(default_factory=list)
    scratch: dict[int, Scratch] = field(default_factory=dict)
    once: Scratch | None = None
    plain: float | None = None

    @property
    def cpu_s(self) -> float:
        """Of all waves."""
        return sum(each.cpu_s for each in self.waves)

    @property
    def scratch_cpu_s(self) -> float | None:
        """Of learning everything so far from nothing at every wave; None unless that was done at each."""
        found = [self.scratch.get(each.seen) for each in self.waves]
        known = [each.cpu_s for each in found if each is not None]
        return sum(known) if len(known) == len(found) else None

    def write(self, path: Path) -> None:
        """After every step: a run that is stopped leaves what it found."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(self), indent=1), "utf-8")

    @classmethod
    def read(cls, path: Path) -> Result:
        found = json.loads(path.read_text("utf-8"))
        return cls(
            found["name"],
            [Wave(**{**each, "rounds": tuple(each["rounds"])}) for each in found["waves"]],
            {int(seen): Scratch(**each) for seen, each in found["scratch"].items()},
            Scratch(**found["once"]) if found["once"] else None,
            found["plain"],
        )

    def table(self) -> str:
        """In Markdown, with both readings of "from scratch" below it."""
        rows = [
            "| samples so far | champion | CPU s | peak MB | rounds | from scratch | CPU s |",
            "|---|---|---|---|---|---|---|",
        ]
        for wave in self.waves:
            beside = self.scratch.get(wave.seen)
            said = f"{beside.accuracy:.4f} | {beside.cpu_s:.1f}" if beside else " | "
            mine = f"{wave.accuracy:.4f} | {wave.cpu_s:.1f} | {wave.peak_mb:.0f} | {', '.join(wave.rounds)}"
            rows.append(f"| {wave.seen:,} | {mine} | {said} |")
        return "\n".join([*rows, "", *self.sums()])

    def sums(self) -> list[str]:
        """The waves' cost beside each way of learning everything from nothing, one sentence each."""
        told = [f"all waves: {self.cpu_s:.1f} CPU seconds"]
        known = {
            "everything at once, in one round": self.once.cpu_s if self.once else None,
            "from scratch on everything, each time": self.scratch_cpu_s,
        }
        if self.waves and (last := self.scratch.get(self.waves[-1].seen)) is not None:
            known["from scratch on everything, the last time alone"] = last.cpu_s
        told += [
            f"{name}: {cpu_s:.1f}, so the waves cost {self.cpu_s / cpu_s:.2f} of it"
            for name, cpu_s in known.items()
            if cpu_s
        ]
        if self.once is not None:
            told.append(f"accuracy of everything at once, in one round: {self.once.accuracy:.4f}")
        if self.plain is not None:
            told.append(f"accuracy of TF-IDF with logistic regression on everything: {self.plain:.4f}")
        return told


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


def draw(path: Path, result: Result) -> None:
    """The same as a picture: accuracy above, CPU so far below. The same result gives the same bytes."""
    import matplotlib

    matplotlib.use("agg")
    matplotlib.rcParams["svg.hashsalt"] = result.name
    from matplotlib import pyplot

    seen = [each.seen for each in result.waves]
    fresh = {each: result.scratch[each] for each in seen if each in result.scratch}
    figure, (above, below) = pyplot.subplots(2, 1, sharex=True, figsize=(7, 7))
    above.plot(seen, [each.accuracy for each in result.waves], "o-", label="in rounds")
    below.plot(seen, np.cumsum([each.cpu_s for each in result.waves]), "o-", label="in rounds")
    above.plot(list(fresh), [each.accuracy for each in fresh.values()], "x--", label="from scratch")
    if len(fresh) == len(seen):
        each_time = np.cumsum([each.cpu_s for each in fresh.values()])
        below.plot(seen, each_time, "x--", label="from scratch each time")
    below.plot(list(fresh), [each.cpu_s for each in fresh.values()], "x:", label="once from scratch")
    above.set(title=result.name, ylabel="accuracy on the test samples")
    below.set(xlabel="samples so far", ylabel="CPU seconds so far")
    for axes in (above, below):
        axes.grid(alpha=0.3)
        axes.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, bbox_inches="tight", metadata={"Date": None})
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


if __name__ == "__main__":  # a result's file: its table, and its picture beside it
    for each in map(Path, sys.argv[1:]):
        print(Result.read(each).table())
        draw(each.with_suffix(".svg"), Result.read(each))
