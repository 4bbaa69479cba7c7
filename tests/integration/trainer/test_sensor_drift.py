"""The drift of real sensors: found between an earlier and a later time, not between two halves by chance."""

from __future__ import annotations

import csv
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tidemill_contracts.samples import Sample
from tidemill_registry.drift_rows import DriftMeasure, list_drift
from tidemill_registry.trigger_rows import triggers_of_round

from tests.integration.trainer.tables import table_spec
from tests.integration.trainer.test_kind_rounds import Line

COLUMNS = ("Temperature", "Humidity", "Light", "CO2", "HumidityRatio")
FILES = ("datatraining.txt", "datatest.txt", "datatest2.txt")
TRAINED, TESTED, WAITING = 1500, 1000, 40
MODEL = "table"


@pytest.fixture(scope="module")
def readings(data_folder: Path) -> list[Sample]:
    """Every reading of the three files, the earliest first, as rows of five numbers."""
    lines = []
    for name in FILES:
        with (data_folder / "sensors_occupancy" / name).open(newline="") as file:
            lines += list(csv.reader(file))[1:]
    lines.sort(key=lambda cells: cells[1])
    return [
        Sample(label=cells[-1], row=dict(zip(COLUMNS, map(float, cells[2:-1]), strict=True)))
        for cells in lines
    ]


def some(samples: Sequence[Sample], count: int) -> list[Sample]:
    """So many of them by chance, the same at every run."""
    return [samples[place] for place in np.random.default_rng(3).permutation(len(samples))[:count]]


def halves(readings: list[Sample], *, by_time: bool) -> tuple[list[Sample], list[Sample]]:
    ordered = readings if by_time else some(readings, len(readings))
    middle = len(ordered) // 2
    return ordered[:middle], ordered[middle:]


@pytest.fixture
def make_line(tmp_path: Path) -> Iterator[Any]:
    made: list[Line] = []

    def make(**drift: float) -> Line:
        spec = table_spec(
            "tabular_classifier",
            ["0", "1"],
            dict.fromkeys(COLUMNS, "number"),
            round={"samples_min": 1000, "age_s_max": 3600},
            training={"epochs_max": 2, "learning_rate": 0.01},
            test={"every_s": 0.001},
            drift=drift,
        )
        made.append(Line(spec, tmp_path))
        return made[-1]

    yield make
    for line in made:
        line.trainer.release()
        line.registry.close()


def live(line: Line, first: Sequence[Sample], second: Sequence[Sample]) -> list[DriftMeasure]:
    """Train on the first half, test on the second while a few samples wait; what was measured."""
    line.wave(some(first, TRAINED))
    line.put(some(second, TESTED), "test")
    line.put(some(second, TESTED + WAITING)[TESTED:])
    for _ in range(3):
        line.trainer.idle()
    with line.registry.read() as sql:
        return list_drift(sql, MODEL)


def test_the_later_half_has_drifted_which_warns_and_wakes_a_round(
    make_line: Any, readings: list[Sample], caplog: pytest.LogCaptureFixture
) -> None:
    line = make_line()

    with caplog.at_level(logging.WARNING):
        found = live(line, *halves(readings, by_time=True))

    moved = {each.name for each in found if each.subject == "inputs" and each.psi > line.spec.drift.wake_at}
    warned = {vars(record)["fields"]["name"] for record in caplog.records if record.message == "drift"}
    assert moved >= {"Temperature", "Humidity", "HumidityRatio"}
    assert warned >= moved
    _, woken = line.registry.rounds(MODEL)
    assert 0 < woken.train_count <= WAITING < line.spec.round.samples_min
    with line.registry.read() as sql:
        assert "drift" in {each.kind for each in triggers_of_round(sql, woken.id)}


def test_a_model_that_bears_more_is_warned_of_and_wakes_no_round(
    make_line: Any, readings: list[Sample], caplog: pytest.LogCaptureFixture
) -> None:
    line = make_line(wake_at=100.0)

    with caplog.at_level(logging.WARNING):
        live(line, *halves(readings, by_time=True))

    assert any(record.message == "drift" for record in caplog.records)
    assert len(line.registry.rounds(MODEL)) == 1
    assert line.registry.pool_counts(MODEL, MODEL).new > 0


def test_two_halves_by_chance_have_not_drifted(
    make_line: Any, readings: list[Sample], caplog: pytest.LogCaptureFixture
) -> None:
    line = make_line()

    with caplog.at_level(logging.WARNING):
        found = live(line, *halves(readings, by_time=False))

    assert {each.name for each in found if each.subject == "inputs"} == set(COLUMNS)
    assert max(each.psi for each in found) < 0.1
    assert not any(record.message == "drift" for record in caplog.records)
    assert len(line.registry.rounds(MODEL)) == 1
