"""The parts of a round are read in one pass over their objects."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tidemill_contracts.errors import InvalidInput
from tidemill_contracts.memory_objects import MemoryStore
from tidemill_contracts.readable import read_samples
from tidemill_contracts.samples import Sample
from tidemill_contracts.stored_batch import StoredMessage
from tidemill_registry.batches import get_objects
from tidemill_registry.sample_rows import get_samples
from tidemill_registry.tables import samples
from tidemill_trainer import examples
from tidemill_trainer.contents import samples_at

NOON = datetime(2026, 1, 2, 12, 0, tzinfo=UTC)
Points = Callable[..., list[Sample]]


class Counting:
    """Passes reads on, and counts them by name."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self.reads: Counter[str] = Counter()

    def get(self, name: str) -> bytes:
        self.reads[name] += 1
        return self._store.get(name)


def test_an_object_is_read_once_however_many_parts_have_samples_in_it(
    world: Any, points: Points, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(examples, "READ_AT_ONCE", 7)
    names = [world.put(points(20, seed=seed)) for seed in range(3)]
    world.start().idle()
    with world.registry.read() as sql:
        ids = [row.sample_id for row in sql.execute(samples.select())]
        rows, objects = get_samples(sql, "points", ids), get_objects(sql, names)
    mixed = [rows[place] for place in np.random.default_rng(1).permutation(len(rows))]
    parts = [mixed[:31], [], mixed[31:], mixed[5:9]]
    store: Any = Counting(world.store)

    together = examples.load_parts(
        world.learner, store, parts, objects, step=lambda: None, scratch=tmp_path / "scratch"
    )

    assert store.reads == dict.fromkeys(names, 1)
    for found, part in zip(together, parts, strict=True):
        alone = examples.load_examples(
            world.learner, world.store, part, objects, step=lambda: None, scratch=tmp_path / "scratch"
        )
        assert np.array_equal(found.inputs, alone.inputs)
        assert np.array_equal(found.targets, alone.targets)
        assert len(found) == len(part)


def test_chosen_samples_of_a_message_are_what_reading_all_of_it_gives(points: Points) -> None:
    odd = {"id": "odd", "label": 7, "row": {"x": 1, "y": -0.0, "t": True, "n": None, "s": "é", "big": 2**70}}
    body = {
        "dataset": "points",
        "source": "test",
        "samples": [*(each.model_dump(exclude_none=True) for each in points(5)), odd, {"label": "bad"}],
    }
    message = StoredMessage("p", "1", NOON, {}, json.dumps(body).encode())
    whole = read_samples(message.message)
    by_place = dict(zip(whole.positions, whole.event.samples, strict=True))

    found = samples_at(message, [5, 0, 3])

    assert found == {place: by_place[place] for place in (5, 0, 3)}
    assert {type(each) for each in (found[5].row or {}).values()} == {
        type(each) for each in (by_place[5].row or {}).values()
    }
    for place in (6, 7):
        with pytest.raises(InvalidInput):
            samples_at(message, [place])
    with pytest.raises(InvalidInput):
        samples_at(message._replace(data=b"{"), [0])
