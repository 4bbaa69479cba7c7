"""Which samples make up a round. Pure: the same pools and seed give the same round."""

from __future__ import annotations

import hashlib
import math
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from tidemill_registry.records import Grouping, Ignored, Part, Role, SampleRow


@dataclass(frozen=True)
class Selection:
    """Ids by part. validation: only those that no earlier round had."""

    train: tuple[str, ...]
    rehearsal: tuple[str, ...]
    validation: tuple[str, ...] = ()

    @property
    def all_train(self) -> tuple[str, ...]:
        """What the challenger learns from: new or retried samples, and older ones."""
        return (*self.train, *self.rehearsal)

    def parts(self) -> dict[Part, list[str]]:
        return {
            "train": list(self.train),
            "rehearsal": list(self.rehearsal),
            "validation": list(self.validation),
        }


def round_seed(model_seed: int, number: int) -> int:
    """A seed of its own for every round of a model: 0 to 2**31 - 1."""
    digest = hashlib.sha256(f"{model_seed}/{number}".encode()).digest()
    return int.from_bytes(digest[:4], "big") % 2**31


def select_new(
    unused: Sequence[tuple[str, Role]], rehearsable: Sequence[str], *, rehearsal_ratio: float, seed: int
) -> Selection:
    """A round of samples never used before, with older ones drawn beside them against forgetting."""
    train = sorted(sample_id for sample_id, role in unused if role == "train")
    validation = sorted(sample_id for sample_id, role in unused if role == "validation")
    rehearsal = _draw(rehearsable, round(len(train) * rehearsal_ratio), seed)
    return Selection(tuple(train), rehearsal, tuple(validation))


def select_retry(
    ignored: Sequence[Ignored],
    rehearsable: Sequence[str],
    *,
    grouping: Grouping,
    turn: int,
    folds: int,
    samples_min: int,
    samples_max: int,
    rehearsal_ratio: float,
    seed: int,
) -> Selection:
    """Ignored samples in a new grouping, those with the fewest attempts first.

    Samples whose labels are believed and others never stand in one group: the gate asks the champion about
    the others, and what it doubts would take the believed ones with it.

    grouping: how the others are chosen. stratified: of every label the same share. k_fold: by chance one of
    `folds` parts, so that what spoils a group is in one part only. loss_ranked: the least trouble first.
    turn: how many retries there were before; names the fold.
    """
    pool = sorted(_of_one_kind(ignored, samples_min), key=lambda each: each.sample_id)
    random.Random(seed).shuffle(pool)  # noqa: S311  (no secret depends on it)
    if grouping == "k_fold":
        pool = pool[turn % folds :: folds]
    elif grouping == "loss_ranked":
        pool.sort(key=lambda each: math.inf if each.loss is None else each.loss)
    else:
        pool = _interleaved(pool)
    chosen = sorted(pool, key=lambda each: each.attempts)[:samples_max]
    train = sorted(each.sample_id for each in chosen)
    rehearsal = _draw(rehearsable, round(len(train) * rehearsal_ratio), seed)
    return Selection(tuple(train), rehearsal)


def _of_one_kind(ignored: Sequence[Ignored], samples_min: int) -> list[Ignored]:
    """The believed or the others, whose turn it is: who is enough for a round, then who was tried least."""
    kinds = [[each for each in ignored if each.believed is believed] for believed in (True, False)]

    def claim(kind: list[Ignored]) -> tuple[bool, int, int]:
        enough = len(kind) >= samples_min
        return enough, -min(each.attempts for each in kind) if enough else 0, len(kind)

    return max((kind for kind in kinds if kind), key=claim, default=[])


def _interleaved(pool: Sequence[Ignored]) -> list[Ignored]:
    """The samples in an order of which every beginning has about the same share of every label."""
    totals, seen = Counter(each.label for each in pool), Counter[str]()
    placed: list[tuple[float, str, Ignored]] = []
    for each in pool:
        seen[each.label] += 1
        placed.append((seen[each.label] / totals[each.label], each.sample_id, each))
    return [each for _, _, each in sorted(placed, key=lambda place: place[:2])]


def judges(validation: Sequence[SampleRow], validation_max: int) -> list[SampleRow]:
    """Those of all validation samples so far that the gate looks at: at most so many, in the same order.

    Of more, those with the lowest digests of their content: as good as drawn by chance, the same in every
    round but for new ones that take the places of others, and the same content stands or goes together.
    """
    if len(validation) <= validation_max:
        return list(validation)
    lowest = sorted(validation, key=lambda row: (row.digest, row.sample_id))[:validation_max]
    chosen = {row.sample_id for row in lowest}
    return [row for row in validation if row.sample_id in chosen]


def obstacle(*, train_labels: Sequence[str], validation_count: int) -> str | None:
    """Why a round of these samples would be worth nothing; None if it may open."""
    if not train_labels:
        return "no training samples"
    if validation_count == 0:
        return "no validation samples"
    if len(set(train_labels)) < 2:
        return f"only one label among the training samples: {train_labels[0]}"
    return None


def _draw(pool: Sequence[str], count: int, seed: int) -> tuple[str, ...]:
    ordered = sorted(pool)
    chosen = random.Random(seed).sample(ordered, min(count, len(ordered)))  # noqa: S311  (as above)
    return tuple(sorted(chosen))
